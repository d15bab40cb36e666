// Where traces stand in the plot of time and duration.

export interface Scale {
  /** Value to place, 0 to 1. */
  at(v: number): number
  ticks: number[]
}

/** round125 is the next of 1, 2 and 5 times a power of ten that is not less. */
export function round125(v: number): number {
  if (!(v > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(v))
  const m = v / power
  return (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * power
}

/** linear is a scale from nothing to a round number that holds all. */
export function linear(max: number, ticks = 4): Scale {
  const step = round125(Math.max(max, 1) / ticks)
  const top = Math.max(1, Math.ceil(max / step)) * step
  return { at: (v) => Math.min(1, Math.max(0, v / top)), ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step) }
}

/** logarithmic is a scale in whole powers of ten around all values; what has no duration stands at its foot. */
export function logarithmic(min: number, max: number): Scale {
  const low = Math.floor(Math.log10(Math.max(1, min)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(1, max))))
  const at = (v: number) => (v <= 0 ? 0 : Math.min(1, Math.max(0, (Math.log10(v) - low) / (high - low))))
  return { at, ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)) }
}

const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800]

/** timeTicks are round moments of the day within a range, in seconds; zone is what the local clock is ahead, in seconds. */
export function timeTicks(from: number, to: number, most = 6, zone = 0): number[] {
  const step = steps.find((s) => (to - from) / s <= most) ?? Math.ceil((to - from) / most / 86_400) * 86_400
  const out: number[] = []
  for (let t = Math.ceil((from + zone) / step) * step - zone; t <= to; t += step) out.push(t)
  return out
}

export type PointKind = 'ok' | 'error' | 'refused'

export interface Point {
  /** 0 to 1, from the left and from the foot. */
  x: number
  y: number
  kind: PointKind
}

/** kindOf is what is told of a trace by shape and colour: that something failed, or else that something was refused. */
export function kindOf(t: { errors: number; refused: number }): PointKind {
  return t.errors > 0 ? 'error' : t.refused > 0 ? 'refused' : 'ok'
}

/** points places traces; times are microseconds, the range seconds. */
export function points(traces: readonly { start: number; duration: number; errors: number; refused: number }[], range: { from: number; to: number }, y: Scale): Point[] {
  const width = Math.max(1e-6, range.to - range.from)
  return traces.map((t) => ({ x: Math.min(1, Math.max(0, (t.start / 1e6 - range.from) / width)), y: y.at(t.duration), kind: kindOf(t) }))
}

/** nearest finds the point next to a place, within a distance; all in pixels. -1 for none. */
export function nearest(places: readonly { x: number; y: number }[], x: number, y: number, within = 14): number {
  let best = within * within
  let found = -1
  places.forEach((p, i) => {
    const d = (p.x - x) ** 2 + (p.y - y) ** 2
    if (d < best) {
      best = d
      found = i
    }
  })
  return found
}
