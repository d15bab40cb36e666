// How far a policy is with the instances that have to enforce it.
import * as format from '~/i18n/format'
import type { Confirmation, InstanceStatus } from '~/policy/model'

export type Standing = 'nobody' | 'refused' | 'waiting' | 'all'

/** standing says in one word how far it is; what is wrong comes first. */
export function standing(c: Pick<Confirmation, 'live' | 'confirmed' | 'pending' | 'refused'>): Standing {
  if (c.live === 0) return 'nobody'
  if (c.refused > 0) return 'refused'
  return c.pending > 0 ? 'waiting' : 'all'
}

/** settled reports whether every live instance has given its word. */
export function settled(c: Pick<Confirmation, 'pending'>): boolean {
  return c.pending === 0
}

const first = { refused: 0, pending: 1, confirmed: 2 }

/** arranged orders instances: who refused, who is waited for, who confirmed. */
export function arranged(list: readonly InstanceStatus[]): InstanceStatus[] {
  return [...list].sort((a, b) => first[a.state] - first[b.state] || a.app.localeCompare(b.app) || nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }))
}

/** nameOf is what people call an instance: its pod. */
export function nameOf(i: { name?: string; instance: string }): string {
  return i.name || i.instance
}

/** namesOf names the instances of a list: by pod, and by their id as well where several have one name. */
export function namesOf(list: readonly { name?: string; instance: string }[]): (i: { name?: string; instance: string }) => string {
  const times = new Map<string, number>()
  for (const i of list) times.set(nameOf(i), (times.get(nameOf(i)) ?? 0) + 1)
  return (i) => {
    const name = nameOf(i)
    return (times.get(name) ?? 0) > 1 && name !== i.instance ? `${name} (${i.instance.slice(0, 8)})` : name
  }
}

/** appsOf are the applications whose instances have to enforce it. */
export function appsOf(c: Confirmation | undefined): string[] {
  return [...new Set((c?.instances ?? []).map((i) => i.app))].sort()
}

/** Who is asked how often, in ms: often while confirmations come in, then now and then, and not at all once there is nothing to come. */
export function pollEvery(c: Confirmation | undefined, since: number, now: number): number | false {
  if (c !== undefined && c.live > 0 && settled(c)) return false
  return now - since < 30_000 ? 300 : 5_000
}

export interface Countdown {
  /** Seconds that are left; 0 when it is over. */
  left: number
  over: boolean
  /** It ends soon: somebody may have to extend it. */
  soon: boolean
}

/** countdown is what is left of a policy, by the server's clock; undefined for one that never ends. */
export function countdown(expires: string | undefined, now: number): Countdown | undefined {
  if (!expires) return undefined
  const end = Date.parse(expires)
  if (Number.isNaN(end)) return undefined
  const left = Math.max(0, Math.ceil((end - now) / 1000))
  return { left, over: end <= now, soon: end > now && left <= 300 }
}

/** took is how long the last to confirm took, in ms. */
export function took(c: Confirmation): number | undefined {
  const v = format.goDuration(c.took)
  return Number.isNaN(v) ? undefined : v
}
