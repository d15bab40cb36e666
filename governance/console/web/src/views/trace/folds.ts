// Which rows of a trace are closed, as its address has it: how many levels are
// shown, and the rows that differ from that, each by as much of its span's id as
// tells it from all others. An index would be shorter, but spans that come late
// move it.
import { toLevel, type Tree } from './rows'

/** Each of these is some eight characters, and an address of many thousands is refused on the way. */
const most = 300
const shortest = 4

export interface Folds {
  levels?: number
  /** Closed though its level is shown, or open though it is not. */
  fold?: string
}

type Depths = readonly { depth: number }[]

/** foldedOf are the spans whose rows an address has closed; what it names and is not there is left out. */
export function foldedOf(tree: Tree, spans: Depths, at: { levels?: string; fold?: string }): ReadonlySet<number> {
  const out = base(tree, spans, levelsOf(at.levels))
  for (const name of (at.fold ?? '').split('-').slice(0, most)) {
    const i = named(tree, name)
    if (i < 0 || tree.children[i] === 0) continue
    if (!out.delete(i)) out.add(i)
  }
  return out
}

/** foldsOf writes closed rows down, as exceptions from so many levels. */
export function foldsOf(tree: Tree, spans: Depths, folded: ReadonlySet<number>, levels?: number): Folds {
  const shown = base(tree, spans, levels)
  const differ: number[] = []
  for (let i = 0; i < tree.keys.length && differ.length < most; i++) if (folded.has(i) !== shown.has(i)) differ.push(i)
  return { levels, fold: differ.length > 0 ? differ.map((i) => shortName(tree, i)).join('-') : undefined }
}

/** levelsOf reads how many levels an address wants; undefined for all. */
export function levelsOf(said: string | undefined): number | undefined {
  return said !== undefined && /^[1-9]\d{0,3}$/.test(said) ? Number(said) : undefined
}

function base(tree: Tree, spans: Depths, levels: number | undefined): Set<number> {
  return levels === undefined ? new Set() : toLevel(tree, spans, levels)
}

/** The keys of a tree in order, so that those that begin alike are neighbours. */
const orders = new WeakMap<Tree, string[]>()

function orderOf(tree: Tree): string[] {
  let all = orders.get(tree)
  if (!all) orders.set(tree, (all = [...tree.keys].sort()))
  return all
}

/** below is how many keys come before a text. */
function below(all: readonly string[], text: string): number {
  let [low, high] = [0, all.length]
  while (low < high) {
    const mid = (low + high) >> 1
    if (all[mid]! < text) low = mid + 1
    else high = mid
  }
  return low
}

function shortName(tree: Tree, i: number): string {
  const all = orderOf(tree)
  const key = tree.keys[i]!
  const at = below(all, key)
  const alike = (other: string | undefined) => {
    let n = 0
    while (other !== undefined && n < key.length && key[n] === other[n]) n++
    return n
  }
  return key.slice(0, Math.max(shortest, alike(all[at - 1]) + 1, alike(all[at + 1]) + 1))
}

/** named is the span that a name stands for: the one that is called so, or else the first that begins so. */
function named(tree: Tree, name: string): number {
  if (name === '') return -1
  const all = orderOf(tree)
  const key = all[below(all, name)]
  return key?.startsWith(name) ? (tree.byKey.get(key) ?? -1) : -1
}
