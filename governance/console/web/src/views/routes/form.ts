// The fields of the form, and how what is typed in them becomes part of a
// document. The document itself is edited as YAML; the form never has another.
import { filterKinds, type FilterKind } from '~/views/routes/route'

/** How a value is typed. */
export type FieldType = 'text' | 'number' | 'list' | 'map' | 'json' | 'check'

export interface FieldSpec {
  /** Its name in the document; empty where the filter is the value itself. */
  name: string
  type: FieldType
  hint?: string
}

const header: FieldSpec[] = [
  { name: 'remove', type: 'list', hint: 'Cookie, X-Debug' },
  { name: 'set', type: 'map', hint: 'X-Via: weir' },
  { name: 'add', type: 'map', hint: 'X-Via: weir' },
]

/** The fields of each filter. Hints are examples, which read the same in each language. */
export const filterFields: Record<FilterKind, FieldSpec[]> = {
  stripPrefix: [{ name: '', type: 'number', hint: '1' }],
  addPrefix: [{ name: '', type: 'text', hint: '/v1' }],
  setPath: [{ name: '', type: 'text', hint: '/carts/{id}' }],
  rewrite: [
    { name: 'regex', type: 'text', hint: '^/old/(.*)' },
    { name: 'with', type: 'text', hint: '/$1' },
  ],
  requestHeaders: header,
  responseHeaders: header,
  hostHeader: [{ name: '', type: 'text', hint: 'preserve | upstream | api.example.com' }],
  timeout: [
    { name: 'total', type: 'text', hint: '2s' },
    { name: 'perTry', type: 'text', hint: '800ms' },
    { name: 'idle', type: 'text', hint: '5m' },
  ],
  retry: [
    { name: 'attempts', type: 'number', hint: '2' },
    { name: 'on', type: 'list', hint: 'connect, reset, timeout, 503' },
    { name: 'methods', type: 'list', hint: 'POST' },
    { name: 'budgetPercent', type: 'number', hint: '20' },
  ],
  breaker: [
    { name: 'window', type: 'text', hint: '10s' },
    { name: 'minCalls', type: 'number', hint: '20' },
    { name: 'errorPercent', type: 'number', hint: '50' },
    { name: 'openFor', type: 'text', hint: '5s' },
    { name: 'probes', type: 'number', hint: '3' },
    { name: 'concurrent', type: 'number', hint: '100' },
  ],
  fallback: [
    { name: 'status', type: 'number', hint: '200' },
    { name: 'headers', type: 'map', hint: 'Content-Type: application/json' },
    { name: 'body', type: 'json', hint: '{"items": [], "degraded": true}' },
    { name: 'on5xx', type: 'check' },
  ],
  bodyLimit: [{ name: '', type: 'number', hint: '1048576' }],
}

/** newFilter is a filter as it begins, so that it can be served at once. */
export function newFilter(kind: FilterKind): Record<string, unknown> {
  const first: Record<FilterKind, unknown> = {
    stripPrefix: 1,
    addPrefix: '/v1',
    setPath: '/',
    rewrite: { regex: '^/old/(.*)', with: '/$1' },
    requestHeaders: { set: { 'X-Via': 'weir' } },
    responseHeaders: { set: { 'X-Via': 'weir' } },
    hostHeader: 'upstream',
    timeout: { total: '2s' },
    retry: { attempts: 2, on: ['connect'] },
    breaker: { errorPercent: 50 },
    fallback: { status: 503 },
    bodyLimit: 1_048_576,
  }
  return { [kind]: first[kind] }
}

/** isKind reports whether a text names a filter. */
export function isKind(s: string): s is FilterKind {
  return (filterKinds as readonly string[]).includes(s)
}

/** Typed is what was made of a typed text: a value, undefined for none, or the word that it is none of its type. */
export type Typed = { value: unknown } | { wrong: true }

/** typed reads what was typed. */
export function typed(type: FieldType, text: string): Typed {
  const s = text.trim()
  if (s === '') return { value: undefined }
  switch (type) {
    case 'number': {
      const n = Number(s)
      return Number.isFinite(n) ? { value: n } : { wrong: true }
    }
    case 'list': {
      const items = s.split(/[,\n]/).map((x) => x.trim()).filter(Boolean)
      return { value: items.length > 0 ? items : undefined }
    }
    case 'map': {
      const out: Record<string, string> = {}
      for (const line of s.split('\n')) {
        if (line.trim() === '') continue
        const i = line.indexOf(':')
        if (i <= 0) return { wrong: true }
        out[line.slice(0, i).trim()] = line.slice(i + 1).trim()
      }
      return { value: out }
    }
    case 'json':
      try {
        return { value: JSON.parse(s) }
      } catch {
        return { wrong: true }
      }
    case 'check':
      return { value: s === 'true' || undefined }
    default:
      return { value: text }
  }
}

/** shownAs writes a value as it is typed. */
export function shownAs(type: FieldType, value: unknown): string {
  if (value === undefined || value === null) return ''
  switch (type) {
    case 'list':
      return Array.isArray(value) ? value.join(', ') : String(value)
    case 'map':
      return typeof value === 'object' ? Object.entries(value).map(([k, v]) => `${k}: ${String(v)}`).join('\n') : String(value)
    case 'json':
      return JSON.stringify(value)
    default:
      return typeof value === 'object' ? JSON.stringify(value) : String(value)
  }
}

/** same reports whether two values are one document. */
export function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** moved returns a list with one element in another place. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const out = [...list]
  const [item] = out.splice(from, 1)
  if (item !== undefined) out.splice(to, 0, item)
  return out
}

export const upstreamKinds = ['app', 'url', 'dubbo'] as const
export type UpstreamKind = (typeof upstreamKinds)[number]

interface UpstreamDoc {
  app?: string
  url?: string
  dubbo?: { app?: string }
  balance?: string
}

export function upstreamKind(u: UpstreamDoc | undefined | null): UpstreamKind {
  return u?.dubbo !== undefined ? 'dubbo' : u?.url !== undefined ? 'url' : 'app'
}

/** asKind is an upstream turned into one of another kind, with what both have. */
export function asKind(u: UpstreamDoc | undefined | null, kind: UpstreamKind): Record<string, unknown> {
  const app = u?.dubbo?.app ?? u?.app ?? ''
  const balance = u?.balance === undefined ? {} : { balance: u.balance }
  if (kind === 'dubbo') return { dubbo: { app, interface: '', method: '', args: [] }, ...balance }
  if (kind === 'url') return { url: 'http://', ...balance }
  return { app, ...balance }
}

/** fieldOf takes the place in a request off what a server says of a field: "body.items[0].route.match.path" is "match.path". */
export function fieldOf(location: string | undefined): string | undefined {
  const m = /^body(?:\.items\[0\]\.route)?(?:\.(.+))?$/.exec(location ?? '')
  return m?.[1]
}
