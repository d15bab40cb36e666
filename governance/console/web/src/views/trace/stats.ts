// What a trace's spans come to, together.
import type { Span } from './rows'

export interface Group {
  key: string
  service: string
  /** undefined where spans of all names are together. */
  name?: string
  spans: number
  /** Microseconds. */
  total: number
  self: number
  longest: number
  critical: number
  errors: number
  refused: number
}

/** criticalOf is how long a span held up the trace. */
export function criticalOf(s: { critical: readonly (readonly number[])[] }): number {
  let sum = 0
  for (const [from = 0, to = 0] of s.critical) sum += to - from
  return sum
}

/** groups adds spans up by application, or by application and name; those on the critical path longest come first. */
export function groups(spans: readonly Span[], by: 'app' | 'name'): Group[] {
  const all = new Map<string, Group>()
  for (const s of spans) {
    const key = by === 'app' ? s.service : `${s.service}\n${s.name}`
    let g = all.get(key)
    if (!g) all.set(key, (g = { key, service: s.service, ...(by === 'name' ? { name: s.name } : {}), spans: 0, total: 0, self: 0, longest: 0, critical: 0, errors: 0, refused: 0 }))
    g.spans++
    g.total += s.duration
    g.self += s.self
    g.longest = Math.max(g.longest, s.duration)
    g.critical += criticalOf(s)
    if (s.error) g.errors++
    if (s.refused) g.refused++
  }
  return [...all.values()].sort((a, b) => b.critical - a.critical || b.self - a.self)
}
