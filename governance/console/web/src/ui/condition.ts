// How an application is, or the calls from one to another, in one word: the same
// one on the overview, in the graph and in lists. The thresholds are those by which
// the server tells what needs a person.
import type { AppHealth } from '~/live/store'
import type { Tone } from '~/ui/basic'
import type { IconName } from '~/ui/icons'

/** Conditions, the worst first. */
export const conditions = ['open', 'failing', 'refusing', 'errors', 'halfOpen', 'slow', 'behind', 'forced', 'ok', 'idle', 'unseen', 'gone'] as const
export type Condition = (typeof conditions)[number]

export const conditionLook: Record<Condition, { tone: Tone; icon: IconName }> = {
  open: { tone: 'bad', icon: 'bolt' },
  failing: { tone: 'bad', icon: 'bad' },
  refusing: { tone: 'bad', icon: 'policies' },
  errors: { tone: 'warn', icon: 'warn' },
  halfOpen: { tone: 'warn', icon: 'half' },
  slow: { tone: 'warn', icon: 'clock' },
  behind: { tone: 'warn', icon: 'undo' },
  forced: { tone: 'forced', icon: 'lock' },
  ok: { tone: 'ok', icon: 'ok' },
  idle: { tone: 'idle', icon: 'dot' },
  unseen: { tone: 'idle', icon: 'why' },
  gone: { tone: 'idle', icon: 'close' },
}

/** rankOf orders conditions: 0 is the worst. */
export function rankOf(c: Condition): number {
  return conditions.indexOf(c)
}

/** calm reports whether a condition needs nobody. */
export function calm(c: Condition): boolean {
  const tone = conditionLook[c].tone
  return tone === 'ok' || tone === 'idle'
}

/** How much of a hundred errors is a word of warning, and how much is bad. */
export const errorsWarn = 5
export const errorsBad = 25
const slowWarn = 20
/** So many calls speak of an application at all; a share of fewer alarms nobody. */
const leastCalls = 20

interface Figures {
  errorPercent: number
  slowPercent: number
}

function byFigures(f: Figures, calls: number): Condition | undefined {
  if (f.errorPercent >= errorsBad && calls >= leastCalls) return 'failing'
  if (f.errorPercent >= errorsWarn) return 'errors'
  return f.slowPercent >= slowWarn && calls >= leastCalls ? 'slow' : undefined
}

/** conditionOf says how an application is, over the last minute or a range of so many seconds. */
export function conditionOf(h: AppHealth, seconds = 60): Condition {
  if (h.open > 0) return 'open'
  const figures = byFigures(h, h.rate * seconds)
  if (figures === 'failing') return 'failing'
  if (h.refusing > 0) return 'refusing'
  if (figures) return figures
  if (h.forced > 0) return 'forced'
  if (h.behind > 0) return 'behind'
  if (h.rate > 0) return 'ok'
  if (h.side === 'unseen') return 'unseen'
  return h.live > 0 ? 'idle' : 'gone'
}

/** What one application's calls to another are, as the caller counts them. */
export interface Calls extends Figures {
  calls: number
  states: Record<string, number>
}

/** callsCondition says how the calls from one application to another are. */
export function callsCondition(e: Calls): Condition {
  const n = (state: string) => e.states[state] ?? 0
  if (n('open') > 0) return 'open'
  const figures = byFigures(e, e.calls)
  if (figures === 'failing') return 'failing'
  if (n('forcedOpen') > 0) return 'forced'
  if (n('halfOpen') > 0) return 'halfOpen'
  return figures ?? (e.calls > 0 ? 'ok' : 'idle')
}
