// What the list of events is made of: the answer of the server and what came in
// live since, one list; and equal events of one moment as one line.
import { appPath, around } from '~/app/address'
import type { LiveEvent } from '~/live/store'

/** The kinds that there are, in the order in which they are offered. */
export const kinds = ['transition', 'policy.published', 'policy.deleted', 'policy.confirmed', 'policy.refused', 'instance.joined', 'instance.left', 'instance.drifted'] as const
export type Kind = (typeof kinds)[number]

export function isKind(s: string): s is Kind {
  return (kinds as readonly string[]).includes(s)
}

/** Conditions of a list of events. */
export interface Conditions {
  app?: string
  instance?: string
  command?: string
  kinds: readonly string[]
}

/** kindsOf reads the kinds of an address: several, with commas between. */
export function kindsOf(said: string | undefined): string[] {
  return [...new Set((said ?? '').split(',').map((k) => k.trim()).filter((k) => k !== ''))]
}

/** fits reports whether an event meets the conditions, as the server would say. */
export function fits(e: LiveEvent, c: Conditions): boolean {
  return (
    (!c.app || e.app === c.app) &&
    (!c.instance || e.instance === c.instance) &&
    (!c.command || e.command === c.command) &&
    (c.kinds.length === 0 || c.kinds.includes(e.kind))
  )
}

const later = (a: LiveEvent, b: LiveEvent) => Date.parse(b.time) - Date.parse(a.time) || b.id - a.id

/** merged puts what came in live to what was read, each once, the newest first. */
export function merged(read: readonly LiveEvent[], live: readonly LiveEvent[]): LiveEvent[] {
  const all = new Map<number, LiveEvent>()
  for (const e of read) all.set(e.id, e)
  for (const e of live) all.set(e.id, e)
  return [...all.values()].sort(later)
}

/** Equal events of one moment. */
export interface Group {
  /** The id of the oldest: it stays when newer ones join. */
  key: number
  /** The newest first. */
  events: LiveEvent[]
  newest: LiveEvent
}

/** instancesOf counts the instances that the events of a group are of. */
export function instancesOf(events: readonly LiveEvent[]): number {
  return new Set(events.map((e) => `${e.app} ${e.instance}`)).size
}

/** How far apart, in ms, equal events may be and still be of one moment. */
export const moment = 10_000

/** alike names what events have to share to be told as one; undefined for one that stands alone. */
function alike(e: LiveEvent): string | undefined {
  const t = e.transition
  switch (e.kind) {
    case 'instance.joined':
    case 'instance.left':
      return [e.kind, e.app].join('\n')
    case 'transition':
      return [e.kind, e.app, e.command, t?.at, t?.peer, t?.from, t?.to].join('\n')
    case 'policy.refused':
    case 'instance.drifted':
      return [e.kind, e.app, e.policy, e.version, e.reason].join('\n')
    default:
      return undefined
  }
}

/** grouped gathers equal events of one moment; they are given the newest first, and so are the groups. */
export function grouped(events: readonly LiveEvent[]): Group[] {
  const out: Group[] = []
  const open = new Map<string, Group>()
  for (const e of events) {
    const name = alike(e)
    const g = name === undefined ? undefined : open.get(name)
    const last = g?.events[g.events.length - 1]
    if (g && last && Date.parse(last.time) - Date.parse(e.time) <= moment) {
      g.events.push(e)
      g.key = e.id
      continue
    }
    const fresh = { key: e.id, events: [e], newest: e }
    out.push(fresh)
    if (name !== undefined) open.set(name, fresh)
  }
  return out
}

/** moved says what circuits of a group were and are. */
export function moved(e: LiveEvent): { from: string; to: string } | undefined {
  return e.transition && { from: e.transition.from, to: e.transition.to }
}

/** counted is what a breaker had counted when it decided: names of counts and how many, without zeros, the most telling first. */
export function counted(e: LiveEvent): [keyof LiveEventCounts, number][] {
  const w = e.transition?.window
  if (!w) return []
  const order: (keyof LiveEventCounts)[] = ['failure', 'timeout', 'slow', 'rejected', 'shortCircuited', 'switched', 'canceled', 'ignored', 'success']
  return order.flatMap((name): [keyof LiveEventCounts, number][] => {
    const n = w[name]
    return n ? [[name, n]] : []
  })
}
export type LiveEventCounts = NonNullable<LiveEvent['transition']>['window']

/** chartOf is the address of the chart at the moment of an event. */
export function chartOf(e: LiveEvent): string | undefined {
  if (!e.app) return undefined
  const t = e.transition
  return appPath(e.app, { command: e.command, at: t?.at, peer: t?.peer, instance: t ? e.instance : undefined, ...around(e.time) })
}

/** policyOf is the address of the version of the policy that an event is about. */
export function policyOf(e: LiveEvent): string | undefined {
  if (!e.policy) return undefined
  const path = `/policies/${e.policy.split('/').map(encodeURIComponent).join('/')}`
  return e.version ? `${path}?version=${e.version}` : path
}
