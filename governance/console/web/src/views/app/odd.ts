// Which instance is not like the others.

export interface Figures {
  instance: string
  calls: number
  errorPercent: number
  p99Ms?: number
}
export type Oddness = 'errors' | 'slow' | 'idle'

function median(values: number[]): number | undefined {
  if (values.length === 0) return undefined
  const s = [...values].sort((a, b) => a - b)
  const mid = s.length >> 1
  return s.length % 2 === 1 ? s[mid] : (s[mid - 1]! + s[mid]!) / 2
}

/** odd tells which instances fail, are slow, or are called far off the others; with fewer than two, none is like others. */
export function odd(all: readonly Figures[]): Map<string, Oddness[]> {
  const out = new Map<string, Oddness[]>()
  if (all.length < 2) return out
  for (const f of all) {
    const others = all.filter((x) => x !== f)
    const found: Oddness[] = []
    const errors = median(others.map((x) => x.errorPercent)) ?? 0
    const slow = median(others.flatMap((x) => (x.p99Ms === undefined ? [] : [x.p99Ms])))
    const calls = median(others.map((x) => x.calls)) ?? 0
    if (f.calls >= 10 && f.errorPercent >= errors * 2 && f.errorPercent - errors >= 2) found.push('errors')
    if (f.calls >= 10 && slow !== undefined && f.p99Ms !== undefined && f.p99Ms >= slow * 2 && f.p99Ms - slow >= 1) found.push('slow')
    if (calls >= 20 && f.calls < calls / 4) found.push('idle')
    if (found.length > 0) out.set(f.instance, found)
  }
  return out
}
