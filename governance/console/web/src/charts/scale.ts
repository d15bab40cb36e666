// Ranges of axes, and what zooming makes of them.

/** top is where an axis that begins at 0 ends: a little above its highest value. */
export function top(max: number | null | undefined): number {
  return max == null || max <= 0 || !Number.isFinite(max) ? 1 : max * 1.08
}

/** zoomed is the range after zooming by a factor around a moment; it is never shorter than `least` seconds. */
export function zoomed(from: number, to: number, around: number, factor: number, least: number): [number, number] {
  const length = Math.max(least, (to - from) * factor)
  const at = Math.min(to, Math.max(from, around))
  const part = (at - from) / (to - from)
  const begin = Math.floor(at - part * length)
  return [begin, Math.ceil(begin + length)]
}

export interface Axis {
  /** Distance of two marks on the axis, in seconds. */
  step: number
  locale: string
}

/** timeTexts writes the times of an axis: as fine as their distance asks, with the day where it changes. */
export function timeTexts(times: readonly number[], { step, locale }: Axis): string[] {
  let day = ''
  return times.map((t, i) => {
    const d = new Date(t * 1000)
    const date = d.toLocaleDateString(locale, { month: 'short', day: 'numeric' })
    if (step >= 86_400) return date
    const clock = d.toLocaleTimeString(locale, { hour: '2-digit', minute: '2-digit', second: step < 60 ? '2-digit' : undefined, hour12: false })
    const changed = date !== day && i > 0
    day = date
    return changed ? `${clock}\n${date}` : clock
  })
}
