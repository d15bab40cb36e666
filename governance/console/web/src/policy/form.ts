// The editor's form, and the document that it stands for. Fields of the form are
// texts, as they are typed; what is wrong with them is said by their place in the
// document, as the server says it.
import * as format from '~/i18n/format'
import { duration, type Breaker, type Fallback, type Policy } from '~/policy/model'
import { say } from '~/said'

export type FallbackKind = '' | 'value' | 'empty' | 'error' | 'cached'

export interface FallbackForm {
  kind: FallbackKind
  /** JSON of a value. */
  value: string
  error: string
  maxAge: string
  /** What holds where nothing is cached. */
  else?: FallbackForm
}

export interface PolicyForm {
  kind: 'policy' | 'switch'
  name: string
  app: string
  command: string
  at: 'provider' | 'caller'
  from: string[]
  mode: string
  window: string
  minCalls: string
  errorPercent: string
  slowCall: string
  slowPercent: string
  openFor: string
  probes: string
  timeout: string
  concurrent: string
  fallback: FallbackForm
  /** RFC 3339; empty for never. */
  expires: string
}

/** Why a field does not make sense by itself, before the server is asked. */
export type Trouble = 'number' | 'json' | 'digits' | 'duration' | 'time'

export const noFallback: FallbackForm = { kind: '', value: '', error: '', maxAge: '' }

export const emptyForm: PolicyForm = {
  kind: 'policy', name: '', app: '', command: '', at: 'provider', from: [],
  mode: '', window: '', minCalls: '', errorPercent: '', slowCall: '', slowPercent: '', openFor: '', probes: '',
  timeout: '', concurrent: '', fallback: noFallback, expires: '',
}

export interface Made {
  doc: Policy
  trouble: Record<string, Trouble>
}

/** toDocument makes the document of a form, and says which fields cannot stand in one. */
export function toDocument(f: PolicyForm): Made {
  const trouble: Record<string, Trouble> = {}
  const text = (v: string) => (v.trim() === '' ? undefined : v.trim())
  const lasts = (v: string, place: string) => {
    const t = text(v)
    if (t !== undefined && Number.isNaN(format.goDuration(t))) trouble[place] = 'duration'
    return t
  }
  const number = (v: string, place: string) => {
    const t = text(v)
    if (t === undefined) return undefined
    const n = Number(t)
    if (Number.isNaN(n)) trouble[place] = 'number'
    return Number.isNaN(n) ? undefined : n
  }
  const breaker: Breaker = clean({
    mode: text(f.mode),
    window: lasts(f.window, 'breaker.window'),
    minCalls: number(f.minCalls, 'breaker.minCalls'),
    errorPercent: number(f.errorPercent, 'breaker.errorPercent'),
    slowCall: lasts(f.slowCall, 'breaker.slowCall'),
    slowPercent: number(f.slowPercent, 'breaker.slowPercent'),
    openFor: lasts(f.openFor, 'breaker.openFor'),
    probes: number(f.probes, 'breaker.probes'),
  })
  const concurrent = number(f.concurrent, 'bulkhead.concurrent')
  if (f.expires !== '' && Number.isNaN(Date.parse(f.expires))) trouble.expires = 'time'
  const doc = clean({
    kind: f.kind === 'switch' ? 'switch' : undefined,
    name: text(f.name),
    target: clean({
      app: f.app.trim(),
      command: text(f.command),
      at: f.at === 'caller' ? 'caller' : undefined,
      from: f.at === 'caller' && f.from.length > 0 ? f.from : undefined,
    }) as Policy['target'],
    breaker: Object.keys(breaker).length > 0 ? breaker : undefined,
    timeout: lasts(f.timeout, 'timeout'),
    bulkhead: concurrent === undefined ? undefined : { concurrent },
    fallback: fallbackOf(f.fallback, 'fallback', trouble),
    expires: text(f.expires),
  }) as Policy
  return { doc, trouble }
}

/** fallbackOf makes the fallback of a form; undefined where it says nothing. */
export function fallbackOf(f: FallbackForm, place: string, trouble: Record<string, Trouble>): Fallback | undefined {
  switch (f.kind) {
    case 'value': {
      const parsed = json(f.value)
      if ('trouble' in parsed) {
        trouble[`${place}.value`] = parsed.trouble
        return undefined
      }
      return { value: parsed.value }
    }
    case 'empty':
      return { empty: true }
    case 'error':
      return { error: f.error }
    case 'cached': {
      if (Number.isNaN(format.goDuration(f.maxAge.trim()))) trouble[`${place}.cached.maxAge`] = 'duration'
      const rest = f.else ? fallbackOf(f.else, `${place}.else`, trouble) : undefined
      return { cached: { maxAge: f.maxAge.trim() }, ...(rest ? { else: rest } : {}) }
    }
    default:
      return undefined
  }
}

/** json reads a value. Numbers that lose digits on the way are refused: what is published has to be what was written. */
export function json(text: string): { value: unknown } | { trouble: Trouble } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { trouble: 'json' }
  }
  return losesDigits(value) ? { trouble: 'digits' } : { value }
}

/** losesDigits reports whether a whole number in a value is longer than this language keeps. */
export function losesDigits(v: unknown): boolean {
  if (typeof v === 'bigint') return true
  if (typeof v === 'number') return Number.isInteger(v) && !Number.isSafeInteger(v)
  if (v && typeof v === 'object') return Object.values(v).some(losesDigits)
  return false
}

/** fromDocument fills the form. What it has no field for, it leaves out. */
export function fromDocument(doc: unknown): PolicyForm {
  const p = object(doc)
  const t = object(p.target)
  const b = object(p.breaker)
  return {
    kind: p.kind === 'switch' ? 'switch' : 'policy',
    name: word(p.name),
    app: word(t.app),
    command: word(t.command),
    at: t.at === 'caller' ? 'caller' : 'provider',
    from: Array.isArray(t.from) ? t.from.map(word) : [],
    mode: word(b.mode),
    window: lasting(b.window),
    minCalls: word(b.minCalls),
    errorPercent: word(b.errorPercent),
    slowCall: lasting(b.slowCall),
    slowPercent: word(b.slowPercent),
    openFor: lasting(b.openFor),
    probes: word(b.probes),
    timeout: lasting(p.timeout),
    concurrent: word(object(p.bulkhead).concurrent),
    fallback: fallbackForm(p.fallback),
    expires: word(p.expires),
  }
}

function fallbackForm(v: unknown): FallbackForm {
  const f = object(v)
  if (f.cached !== undefined) {
    return { ...noFallback, kind: 'cached', maxAge: lasting(object(f.cached).maxAge), ...(f.else === undefined ? {} : { else: fallbackForm(f.else) }) }
  }
  if (f.value !== undefined) return { ...noFallback, kind: 'value', value: JSON.stringify(f.value, undefined, 2) }
  if (f.empty === true) return { ...noFallback, kind: 'empty' }
  if (f.error !== undefined) return { ...noFallback, kind: 'error', error: word(f.error) }
  return noFallback
}

function object(v: unknown): Record<string, unknown> {
  return v && typeof v === 'object' && !Array.isArray(v) ? (v as Record<string, unknown>) : {}
}

function word(v: unknown): string {
  if (v instanceof Date) return v.toISOString()
  return v === undefined || v === null || typeof v === 'object' ? '' : String(v)
}

const lasting = (v: unknown) => duration(word(v))

function clean<T extends object>(o: T): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T
}

/** placeErrors are what the server found wrong, by place in the document; those without a place of the form have the place "". */
export function placeErrors(errors: readonly { location?: string; message?: string }[], places: ReadonlySet<string>): Record<string, string> {
  const out: Record<string, string> = {}
  for (const e of errors) {
    const full = (e.location ?? '').replace(/^body\.?/, '')
    let at = full
    while (at !== '' && !places.has(at)) at = at.includes('.') ? at.slice(0, at.lastIndexOf('.')) : ''
    const said = at === '' && full !== '' ? `${full}: ${say(e.message ?? '')}` : say(e.message ?? '')
    out[at] = out[at] === undefined ? said : `${out[at]}; ${said}`
  }
  return out
}

/** Places that the form has a field for. */
export const formPlaces: ReadonlySet<string> = new Set([
  'name', 'kind', 'target', 'target.app', 'target.command', 'target.at', 'target.from',
  'breaker.mode', 'breaker.window', 'breaker.minCalls', 'breaker.errorPercent', 'breaker.slowCall', 'breaker.slowPercent', 'breaker.openFor', 'breaker.probes',
  'timeout', 'bulkhead.concurrent', 'expires',
  ...['fallback', 'fallback.else', 'fallback.else.else', 'fallback.else.else.else'].flatMap((f) => [f, `${f}.value`, `${f}.error`, `${f}.cached.maxAge`]),
])

/** localTime is a time as an input of date and time takes it, and back. */
export function localTime(iso: string): string {
  const d = new Date(iso)
  return Number.isNaN(d.getTime()) ? '' : new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}

export function fromLocalTime(local: string): string {
  const d = new Date(local)
  return Number.isNaN(d.getTime()) ? '' : d.toISOString().replace('.000Z', 'Z')
}
