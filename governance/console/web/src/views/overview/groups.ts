// What needs a person, alike things together: ten routes that one gateway cannot
// serve for one cause are one thing to read, not ten.
import { say } from '~/said'
import { words as w } from './words'
import { bySeverity, type Attention } from './attention'

export interface Group {
  /** Equal for the group as it grows and shrinks. */
  key: string
  items: Attention[]
  /** What all of them are due to, where the server says so and it is the same. */
  why?: string
  /** They are due to different things, so that each has to be read. */
  mixed: boolean
}

/** Up to so many things of one kind are told one by one. */
const few = 2

/** grouped puts together what is alike, the worst first; a group stands where the first of it does. */
export function grouped(all: readonly Attention[]): Group[] {
  const items = bySeverity(all)
  const byCause = bucketed(items, (a) => `${familyOf(a)} ${a.params.why ?? ''}`)
  // What shares its cause with too few is put together by its kind alone.
  const left = items.filter((a) => byCause.get(`${familyOf(a)} ${a.params.why ?? ''}`)!.length <= few)
  const byKind = bucketed(left, familyOf)
  const groups = new Map<string, Group>()
  for (const a of items) {
    const [cause, kind] = [`${familyOf(a)} ${a.params.why ?? ''}`, familyOf(a)]
    const known = w.has(`g.${kindOf(a)}`)
    if (known && byCause.get(cause)!.length > few) {
      groups.set(cause, { key: cause, items: byCause.get(cause)!, why: a.params.why || undefined, mixed: false })
    } else if (known && byKind.get(kind)!.length > few) {
      groups.set(kind, { key: kind, items: byKind.get(kind)!, mixed: true })
    } else {
      const key = `${a.kind} ${a.text}`
      groups.set(key, { key, items: [a], mixed: false })
    }
  }
  return [...groups.values()]
}

function bucketed(items: readonly Attention[], keyOf: (a: Attention) => string): Map<string, Attention[]> {
  const buckets = new Map<string, Attention[]>()
  for (const a of items) buckets.set(keyOf(a), [...(buckets.get(keyOf(a)) ?? []), a])
  return buckets
}

const familyOf = (a: Attention) => `${a.severity} ${kindOf(a)}`

// What is held open and what is held closed is not of one kind to a reader.
function kindOf({ kind, params }: Attention): string {
  return kind === 'circuit.forced' ? `circuit.held.${params.state === 'forcedClosed' ? 'closed' : 'open'}` : kind
}

/** sayGroup is the sentence about all of a group. */
export function sayGroup(g: Group): string {
  const first = g.items[0]!
  const key = `g.${kindOf(first)}`
  if (!w.has(key)) return say(first.text)
  return w(key, { n: g.items.length, apps: new Set(g.items.map((a) => a.params.app)).size })
}

/** nameOf is what one thing of a group is called, with the figure that tells it from the others. */
export function nameOf({ kind, params: p, text }: Attention): string {
  if (kind.startsWith('circuit.')) return p.route ?? [p.peer ? `${p.app} → ${p.peer}` : p.app, p.command].filter(Boolean).join(' ')
  if (kind === 'instance.refusing' && p.policy) return `${p.app} (${p.policy})`
  if (kind === 'system.queue') return `${p.queue} ${p.node ?? ''}`.trim()
  if (kind === 'system.node') return `${p.role} ${p.node}`
  const name = p.route ?? p.switch ?? p.app ?? p.gateway ?? p.table ?? (p.what && say(p.what))
  if (!name) return say(text)
  return p.percent ? `${name} ${p.percent} %` : name
}

/** sinceOf is when the first of a group began. */
export function sinceOf(g: Group): string | undefined {
  return g.items.flatMap((a) => (a.since ? [a.since] : [])).sort((a, b) => Date.parse(a) - Date.parse(b))[0]
}
