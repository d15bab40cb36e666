// Rules of policies as fields and values: the way documents write them.
import type { Schemas } from '~/api/client'

export interface Field {
  field: string
  value: string
}

/** fields flattens rules: "breaker.errorPercent" and "50". What answers calls stays one document. */
export function fields(rules: Pick<Schemas['GovernanceRules'], 'breaker' | 'timeout' | 'bulkhead' | 'fallback'>): Field[] {
  const out: Field[] = []
  for (const [name, v] of Object.entries(rules.breaker ?? {})) out.push({ field: `breaker.${name}`, value: text(v) })
  if (rules.timeout) out.push({ field: 'timeout', value: rules.timeout })
  if (rules.bulkhead) out.push({ field: 'bulkhead.concurrent', value: String(rules.bulkhead.concurrent) })
  if (rules.fallback) out.push({ field: 'fallback', value: JSON.stringify(rules.fallback) })
  return out
}

function text(v: unknown): string {
  return typeof v === 'string' ? v : JSON.stringify(v)
}

/** sourceOf finds which source a field has: that of its own name, or of what it is part of. */
export function sourceOf<T>(field: string, sources: Record<string, T>): T | undefined {
  for (let name = field; name !== ''; name = name.includes('.') ? name.slice(0, name.lastIndexOf('.')) : '') {
    if (sources[name] !== undefined) return sources[name]
  }
  // A source that is named by a part of the field's document stands for all of it.
  const below = Object.keys(sources).find((s) => s.startsWith(`${field}.`))
  return below === undefined ? undefined : sources[below]
}
