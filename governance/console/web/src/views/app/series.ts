// Points of a command's charts: what is kept of the past, and the seconds that
// come in live joined to its end.
import type { Schemas } from '~/api/client'
import * as format from '~/i18n/format'
import type { Second } from '~/live/store'

export type Counts = Schemas['GovernanceCounts']

export interface Point {
  /** Unix seconds of its begin. */
  time: number
  /** Seconds it lasts. */
  step: number
  counts: Counts
  inFlight: number
  instances: number
  p50?: number
  p90?: number
  p99?: number
  max?: number
  states?: Record<string, number>
  lossy?: boolean
}

/** pastPoints reads what the history answered. */
export function pastPoints(r: Schemas['GovernanceSeriesResult'] | undefined): Point[] {
  const step = stepOf(r)
  return (r?.points ?? []).map((p) => ({
    time: Date.parse(p.time) / 1000,
    step,
    counts: p.counts,
    inFlight: p.inFlight,
    instances: p.instances,
    ...(p.latency ? { p50: format.goDuration(p.latency.p50), p90: format.goDuration(p.latency.p90), p99: format.goDuration(p.latency.p99), max: format.goDuration(p.latency.max) } : {}),
    states: p.states,
    lossy: p.lossy,
  }))
}

/** stepOf is the distance of an answer's points, in seconds. */
export function stepOf(r: Schemas['GovernanceSeriesResult'] | undefined): number {
  const ms = format.goDuration(r?.step)
  return Number.isNaN(ms) || ms <= 0 ? 1 : ms / 1000
}

/** livePoint makes a point of a second that came in live. */
export function livePoint(s: Second): Point {
  return { time: s.second, step: 1, counts: s.counts, inFlight: s.inFlight, instances: s.instances, p50: s.p50Ms, p90: s.p90Ms, p99: s.p99Ms, max: s.maxMs, states: s.states, lossy: s.lossy }
}

/**
 * joined puts live seconds to the points of the past. A live second stands for the
 * point of the same second, as it may have been completed since; where the past
 * has coarser points, seconds follow behind the last of them: percentiles cannot be
 * made of percentiles. What is not over by `until` is left out: it is not complete.
 */
export function joined(past: readonly Point[], live: ReadonlyMap<number, Second>, from: number, until: number): Point[] {
  const whole = past.filter((p) => p.time + p.step > from && p.time + p.step <= until)
  const end = whole.at(-1)
  const fine = end === undefined || end.step === 1
  const after = fine ? -Infinity : end.time + end.step
  const seconds = [...live.values()].filter((s) => s.second >= from && s.second >= after && s.second + 1 <= until).sort((a, b) => a.second - b.second)
  if (seconds.length === 0) return whole
  const told = new Set(seconds.map((s) => s.second))
  return [...whole.filter((p) => p.step !== 1 || !told.has(p.time)), ...seconds.map(livePoint)].sort((a, b) => a.time - b.time)
}

/** How many steps may be without a sample before that is a gap: who counts says nothing of a second in which nobody called. */
export const quietSteps = 10

/** quiet fills in short times without a sample as what they are: nobody called. Longer ones stay gaps, since there nobody may have counted. */
export function quiet(points: readonly Point[], most = quietSteps): Point[] {
  const out: Point[] = []
  points.forEach((p, i) => {
    const before = points[i - 1]
    if (before) {
      const end = before.time + before.step
      const missing = Math.round((p.time - end) / p.step)
      if (missing > 0 && missing <= most) {
        for (let k = 0; k < missing; k++) out.push({ time: end + k * p.step, step: p.step, counts: {}, inFlight: 0, instances: before.instances })
      }
    }
    out.push(p)
  })
  return out
}

/** What became of calls, in the order in which charts show it. */
export const outcomes = ['success', 'failure', 'timeout', 'rejected', 'shortCircuited', 'switched', 'ignored', 'canceled', 'fallback'] as const
export type Outcome = (typeof outcomes)[number]

export function countOf(c: Counts, o: Outcome): number {
  return o === 'fallback' ? (c.fallbackSuccess ?? 0) + (c.fallbackFailure ?? 0) : (c[o] ?? 0)
}

export function ran(c: Counts): number {
  return (c.success ?? 0) + (c.failure ?? 0) + (c.ignored ?? 0) + (c.timeout ?? 0) + (c.canceled ?? 0)
}
export function refused(c: Counts): number {
  return (c.rejected ?? 0) + (c.shortCircuited ?? 0) + (c.switched ?? 0)
}

/** errorPercent is of the calls that ran; null where none did. */
export function errorPercent(c: Counts): number | null {
  const of = ran(c)
  return of === 0 ? null : (100 * ((c.failure ?? 0) + (c.timeout ?? 0))) / of
}
/** refusedPercent is of all calls; null where there was none. */
export function refusedPercent(c: Counts): number | null {
  const of = ran(c) + refused(c)
  return of === 0 ? null : (100 * refused(c)) / of
}
export function slowPercent(c: Counts): number | null {
  const of = ran(c)
  return of === 0 ? null : (100 * (c.slow ?? 0)) / of
}

/** present lists the outcomes that happened; success and failure always. */
export function presentOutcomes(points: readonly Point[]): Outcome[] {
  return outcomes.filter((o) => o === 'success' || o === 'failure' || points.some((p) => countOf(p.counts, o) > 0))
}

/** peak finds the point with the highest value; undefined where none is above 0. */
export function peak(points: readonly Point[], of: (p: Point) => number | null | undefined): { point: Point; value: number } | undefined {
  let best: { point: Point; value: number } | undefined
  for (const point of points) {
    const value = of(point)
    if (value != null && value > 0 && (!best || value > best.value)) best = { point, value }
  }
  return best
}

/** wantedStep is the distance of points to ask for: seconds for a short range of a command that is called often enough for a line, undefined for what the server chooses. */
export function wantedStep(seconds: number, rate: number | undefined): number | undefined {
  if (seconds > 900 || rate === undefined) return seconds > 900 ? undefined : 1
  if (rate >= 0.3) return 1
  return rate >= 0.05 ? 10 : 30
}
