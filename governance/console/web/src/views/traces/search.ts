// What is searched for: between the form, the address, and the question to the API.
import type { GetParams } from '~/api/query'
import { rangeQuery, type Patch, type Range } from '~/app/address'
import { goDuration } from '~/i18n/format'

/** A condition on tags: a key that is there, or a key with a value. */
export interface TagCondition {
  key: string
  value?: string
}

/** parseTags reads "error and http.path=/a" as the API does: conditions between " and ". */
export function parseTags(text: string): TagCondition[] {
  const out: TagCondition[] = []
  for (const part of text.split(/\s+and(?=\s)/i)) {
    const cut = part.indexOf('=')
    const key = (cut < 0 ? part : part.slice(0, cut)).trim()
    const value = cut < 0 ? undefined : part.slice(cut + 1).trim()
    if (key === '') continue
    const said = out.find((c) => c.key === key)
    if (!said) out.push(value === undefined ? { key } : { key, value })
    else if (value !== undefined) said.value = value
  }
  return out
}

/** formatTags writes conditions as the API reads them. */
export function formatTags(conditions: readonly TagCondition[]): string {
  return conditions.map((c) => (c.value === undefined ? c.key : `${c.key}=${c.value}`)).join(' and ')
}

/** duration completes what somebody typed to what the API takes: a bare number is milliseconds. undefined for what is none. */
export function duration(text: string): string | undefined {
  const t = text.trim().replace(/\s+/g, '').replace(',', '.')
  if (t === '') return ''
  if (/^\d+(\.\d+)?$/.test(t)) return `${t}ms`
  const v = goDuration(t)
  return Number.isNaN(v) || v < 0 ? undefined : t
}

export const limits = [20, 50, 100, 250, 1000] as const
const usual = 50

/** What the form holds. */
export interface Wanted {
  /** "namespace/name", or the name of a service alone. */
  app: string
  command: string
  span: string
  peer: string
  tags: string
  min: string
  max: string
  error: boolean
  limit: number
}

/** wantedOf reads an address. */
export function wantedOf(get: (name: string) => string | undefined): Wanted {
  const limit = Number(get('limit'))
  return {
    app: get('app') ?? get('service') ?? '',
    command: get('command') ?? '',
    span: get('span') ?? '',
    peer: get('peer') ?? get('remote') ?? '',
    tags: get('tags') ?? '',
    min: get('minDuration') ?? '',
    max: get('maxDuration') ?? '',
    error: get('error') === 'true' || get('error') === '1',
    limit: Number.isInteger(limit) && limit >= 1 ? Math.min(1000, limit) : usual,
  }
}

export type Mistake = 'duration' | 'durations'

/** check finds what the API would refuse. */
export function check(w: Wanted): Partial<Record<'min' | 'max', Mistake>> {
  const out: Partial<Record<'min' | 'max', Mistake>> = {}
  const [min, max] = [duration(w.min), duration(w.max)]
  if (min === undefined) out.min = 'duration'
  if (max === undefined) out.max = 'duration'
  else if (min && max && goDuration(max) < goDuration(min)) out.max = 'durations'
  return out
}

/** toAddress is what the address has to say for a search. */
export function toAddress(w: Wanted): Patch {
  const full = (name: string) => name.includes('/')
  const [app, peer] = [w.app.trim(), w.peer.trim()]
  return {
    app: full(app) ? app : undefined,
    service: full(app) ? undefined : app,
    command: w.command.trim(),
    span: w.span.trim(),
    peer: full(peer) ? peer : undefined,
    remote: full(peer) ? undefined : peer,
    tags: formatTags(parseTags(w.tags)),
    minDuration: duration(w.min),
    maxDuration: duration(w.max),
    error: w.error,
    limit: w.limit === usual ? undefined : w.limit,
  }
}

/** toQuery is the question to the API. */
export function toQuery(w: Wanted, range: Range): NonNullable<GetParams<'/api/v1/traces'>['query']> {
  const { error, limit: _, ...rest } = toAddress(w)
  const said = Object.fromEntries(Object.entries(rest).filter(([, v]) => v !== undefined && v !== ''))
  const { from, to } = rangeQuery(range)
  // Without an end, a search also finds what clocks that run ahead have sent.
  return { ...said, ...(error ? { error: true } : {}), limit: w.limit, from, ...(range.name ? {} : { to }) }
}

/** idOf reads a trace's id from what was typed or pasted: the id, a traceparent, or an address that ends in one. */
export function idOf(text: string): string | undefined {
  const t = text.trim().toLowerCase()
  const w3c = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(t)
  if (w3c) return w3c[1]
  const last = /(?:^|\/)([0-9a-f]{1,32})\/?(?:[?#].*)?$/.exec(t)
  return last?.[1]
}
