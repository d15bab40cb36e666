// Calls that a target is about, among what its applications count.
import { shortCommand, type Target } from '~/policy/model'

/** The time over which present rates are taken, short enough to follow what was just done, and how late reports come in. */
export const seconds = 15
const late = 2

/** present is that time, as the APIs take it. */
export const present = { from: `-${seconds + late}s`, to: `-${late}s` }

export interface Counted {
  command: string
  at: string
  peer?: string
  calls: number
  counts: { switched?: number; success?: number; failure?: number; ignored?: number; timeout?: number; canceled?: number }
}

/** about reports whether a target is about a command that an application counts. */
export function about(t: Target, c: Pick<Counted, 'command' | 'at' | 'peer'>): boolean {
  const at = t.at === 'caller' ? 'caller' : 'provider'
  if (c.at !== at || (at === 'caller' && c.peer !== t.app)) return false
  return !t.command || t.command === c.command || shortCommand(t.command) === c.command
}

/** refusedRate is how many calls a second a switch refused. */
export function refusedRate(list: readonly Counted[]): number {
  return list.reduce((sum, c) => sum + (c.counts.switched ?? 0), 0) / seconds
}

/** traffic is what goes on at present: calls a second, and how many of a hundred that ran failed. */
export function traffic(list: readonly Counted[]): { rate: number; errorPercent: number } {
  const sum = (of: (c: Counted) => number) => list.reduce((n, c) => n + of(c), 0)
  const failed = ({ counts: c }: Counted) => (c.failure ?? 0) + (c.timeout ?? 0)
  const ran = sum((c) => (c.counts.success ?? 0) + (c.counts.ignored ?? 0) + (c.counts.canceled ?? 0) + failed(c))
  return { rate: sum((c) => c.calls) / seconds, errorPercent: ran === 0 ? 0 : (100 * sum(failed)) / ran }
}
