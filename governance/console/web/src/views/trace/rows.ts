// The rows of a trace: what stands below what, and which of them are to be seen.
import type { Schemas } from '~/api/client'

export type Span = Schemas['TracingQuerySpanRow']
export type Trace = Schemas['TracingQueryTraceView']

/** Tree is a trace's shape, by the index of a span. Spans come depth-first. */
export interface Tree {
  parent: Int32Array
  /** The index after the last span below. */
  end: Int32Array
  children: Int32Array
  /** Which of its siblings a span is, from 1. */
  position: Int32Array
  /** How many stand at the top. */
  tops: number
  /** What a span is called in the address; ids alone may be shared. */
  keys: string[]
  byKey: Map<string, number>
}

export function treeOf(spans: readonly { id: string; parent: number; shared?: boolean }[]): Tree {
  const n = spans.length
  const tree: Tree = { parent: new Int32Array(n), end: new Int32Array(n), children: new Int32Array(n), position: new Int32Array(n), tops: 0, keys: new Array<string>(n), byKey: new Map() }
  for (let i = 0; i < n; i++) {
    const s = spans[i]!
    tree.parent[i] = s.parent
    tree.position[i] = s.parent < 0 ? ++tree.tops : ++tree.children[s.parent]!
    let key = s.shared ? `${s.id}.server` : s.id
    for (let k = 2; tree.byKey.has(key); k++) key = `${s.id}.${k}`
    tree.keys[i] = key
    tree.byKey.set(key, i)
  }
  for (let i = n - 1; i >= 0; i--) {
    const end = Math.max(tree.end[i]!, i + 1)
    tree.end[i] = end
    const up = tree.parent[i]!
    if (up >= 0 && tree.end[up]! < end) tree.end[up] = end
  }
  return tree
}

/** visible are the indices of the rows to be seen, in order: what is below a collapsed row is skipped as a whole. */
export function visible(end: ArrayLike<number>, collapsed: ReadonlySet<number>): number[] {
  const out: number[] = []
  for (let i = 0, n = end.length; i < n; ) {
    out.push(i)
    i = collapsed.has(i) ? end[i]! : i + 1
  }
  return out
}

/** rowOf finds a span among the visible rows, which ascend; -1 for one that is hidden. */
export function rowOf(rows: readonly number[], span: number): number {
  let low = 0
  let high = rows.length - 1
  while (low <= high) {
    const mid = (low + high) >> 1
    const at = rows[mid]!
    if (at === span) return mid
    if (at < span) low = mid + 1
    else high = mid - 1
  }
  return -1
}

/** toLevel collapses so that so many levels are to be seen. */
export function toLevel(tree: Tree, depth: readonly { depth: number }[], levels: number): Set<number> {
  const out = new Set<number>()
  for (let i = 0; i < depth.length; i++) if (depth[i]!.depth >= levels - 1 && tree.children[i]! > 0) out.add(i)
  return out
}

/** revealed opens whatever is above a span; the set itself if nothing hides it. */
export function revealed(parent: ArrayLike<number>, collapsed: ReadonlySet<number>, span: number): ReadonlySet<number> {
  let out: Set<number> | undefined
  for (let up = parent[span] ?? -1; up >= 0; up = parent[up] ?? -1) {
    if (collapsed.has(up)) (out ??= new Set(collapsed)).delete(up)
  }
  return out ?? collapsed
}

/** toggled opens or closes a row. */
export function toggled(collapsed: ReadonlySet<number>, span: number): Set<number> {
  const out = new Set(collapsed)
  if (!out.delete(span)) out.add(span)
  return out
}

/** inView are the rows to draw, from the first to before the last, with some over at both ends. */
export function inView(top: number, height: number, rowHeight: number, rows: number, over = 8): [first: number, last: number] {
  const first = Math.max(0, Math.floor(top / rowHeight) - over)
  return [Math.min(first, rows), Math.min(rows, Math.ceil((top + height) / rowHeight) + over)]
}

/** nextOf is the one of some ascending spans that comes next after, or before, a span, going round at the ends; -1 for none. */
export function nextOf(spans: readonly number[], span: number, step: 1 | -1): number {
  if (spans.length === 0) return -1
  if (step === 1) return spans.find((s) => s > span) ?? spans[0]!
  return spans.findLast((s) => s < span) ?? spans[spans.length - 1]!
}
