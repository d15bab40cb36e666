// What gateways counted of a route, as lines and bands of charts.
import type { Schemas } from '~/api/client'
import type { Band, ChartSeries, Mark } from '~/charts/types'
import { goDuration } from '~/i18n/format'
import type { Version } from '~/views/routes/route'

type Series = Schemas['GovernanceSeriesResult']
type Counts = Schemas['GovernanceCounts']

export interface Traffic {
  step: number
  times: number[]
  calls: (number | null)[]
  failed: (number | null)[]
  refused: (number | null)[]
  p50: (number | null)[]
  p99: (number | null)[]
}

export function failedOf(c: Counts): number {
  return (c.failure ?? 0) + (c.timeout ?? 0)
}

export function refusedOf(c: Counts): number {
  return (c.rejected ?? 0) + (c.shortCircuited ?? 0) + (c.switched ?? 0)
}

export function allOf(c: Counts): number {
  return (c.success ?? 0) + failedOf(c) + (c.ignored ?? 0) + (c.canceled ?? 0) + refusedOf(c)
}

/** trafficOf makes lines of points: figures for each second, latencies in ms. */
export function trafficOf(s: Series): Traffic {
  const step = Math.max(1, goDuration(s.step) / 1000)
  const points = s.points ?? []
  const latency = (v: string | undefined) => {
    const ms = goDuration(v)
    return Number.isNaN(ms) ? null : ms
  }
  return {
    step,
    times: points.map((p) => Date.parse(p.time) / 1000),
    calls: points.map((p) => allOf(p.counts) / step),
    failed: points.map((p) => failedOf(p.counts) / step),
    refused: points.map((p) => refusedOf(p.counts) / step),
    p50: points.map((p) => latency(p.latency?.p50)),
    p99: points.map((p) => latency(p.latency?.p99)),
  }
}

const worst = ['forcedOpen', 'open', 'halfOpen', 'forcedClosed'] as const

/** bandsOf are the times in which a gateway's circuit was not simply closed. */
export function bandsOf(s: Series, word: (state: string) => string): Band[] {
  const step = Math.max(1, goDuration(s.step) / 1000)
  const out: Band[] = []
  for (const p of s.points ?? []) {
    const state = worst.find((w) => (p.states?.[w] ?? 0) > 0)
    if (!state) continue
    const from = Date.parse(p.time) / 1000
    const last = out.at(-1)
    if (last?.state === state && last.to >= from) last.to = from + step
    else out.push({ from, to: from + step, state, label: word(state) })
  }
  return out
}

/** marksOf are the versions of a route that were written within a range. */
export function marksOf(versions: readonly Version[], from: number, to: number, label: (v: Version) => string, address: (v: Version) => string): Mark[] {
  return versions
    .map((v): Mark => ({ time: Date.parse(v.created) / 1000, kind: 'route', label: label(v), to: address(v) }))
    .filter((m) => m.time >= from && m.time <= to)
    .reverse()
}

/** lines puts values and looks together. */
export function line(label: string, values: (number | null)[], color: string, more: Partial<ChartSeries> = {}): ChartSeries {
  return { label, values, color, ...more }
}
