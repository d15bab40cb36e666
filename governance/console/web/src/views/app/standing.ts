// How an application stands, in reasons, the worst first.
import type { AppHealth } from '~/live/store'
import type { Tone } from '~/ui/basic'
import { errorsBad, errorsWarn } from '~/ui/condition'

export type ReasonKey = 'open' | 'errors' | 'refusing' | 'forced' | 'refused' | 'someErrors' | 'behind' | 'gone' | 'lossy'
export interface Reason {
  key: ReasonKey
  tone: Tone
  /** How many, or how much of a hundred. */
  n: number
}

/** From how much of a hundred refused calls are a word of warning. */
export const refusedWarn = 1

type Judged = Pick<AppHealth, 'live' | 'behind' | 'refusing' | 'errorPercent' | 'refusedPercent' | 'open' | 'forced' | 'side' | 'lossy' | 'rate'>

const weight: Record<ReasonKey, number> = { open: 90, errors: 80, refusing: 70, forced: 60, refused: 50, someErrors: 40, behind: 30, gone: 20, lossy: 10 }

/** reasons lists what is to be said of an application; none where all is well. */
export function reasons(h: Judged): Reason[] {
  const out: Reason[] = []
  const say = (key: ReasonKey, tone: Tone, n: number) => out.push({ key, tone, n })
  if (h.open > 0) say('open', 'bad', h.open)
  if (h.errorPercent >= errorsBad) say('errors', 'bad', h.errorPercent)
  if (h.refusing > 0) say('refusing', 'bad', h.refusing)
  if (h.forced > 0) say('forced', 'forced', h.forced)
  if (h.refusedPercent >= refusedWarn && h.forced === 0) say('refused', 'warn', h.refusedPercent)
  if (h.errorPercent >= errorsWarn && h.errorPercent < errorsBad) say('someErrors', 'warn', h.errorPercent)
  if (h.behind > 0) say('behind', 'warn', h.behind)
  if (h.live === 0 && h.side !== 'unseen') say('gone', 'idle', 0)
  if (h.lossy) say('lossy', 'info', 0)
  return out
}

/** troubled reports whether something is wrong: counts that are known to be incomplete are not. */
export function troubled(h: Judged): boolean {
  return reasons(h).some((r) => r.tone !== 'info')
}

/** badness orders applications: the higher, the worse. Within one reason, more is worse. */
export function badness(h: Judged): number {
  const [worst] = reasons(h)
  if (!worst) return h.rate > 0 ? 1 : 0
  return weight[worst.key] * 1000 + Math.min(999, worst.n)
}
