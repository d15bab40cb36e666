// Finding within a trace.
import type { Span } from './rows'

/** textsOf is what each span is found by: its names, where it leads, its ids, tags and events. */
export function textsOf(spans: readonly Span[]): string[] {
  const out = new Array<string>(spans.length)
  for (let i = 0; i < spans.length; i++) {
    const s = spans[i]!
    const parts = [s.service, s.name, s.app ?? '', s.command ?? '', s.remote ?? '', s.peer ?? '', s.id, s.kind, s.instance ?? '']
    for (const [key, value] of s.tags as [string, string][]) parts.push(`${key}=${value}`)
    for (const e of s.annotations) parts.push(e.value)
    out[i] = parts.join('\n').toLowerCase()
  }
  return out
}

/** find returns the spans whose text holds all words of a query. */
export function find(texts: readonly string[], query: string): number[] {
  const words = query.trim().toLowerCase().split(/\s+/)
  if (words[0] === '') return []
  const out: number[] = []
  for (let i = 0; i < texts.length; i++) {
    const text = texts[i]!
    if (words.every((w) => text.includes(w))) out.push(i)
  }
  return out
}
