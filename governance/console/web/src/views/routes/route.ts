// What of a route can be said without its server.
import type { Schemas } from '~/api/client'
import { link, type Patch } from '~/app/address'

export type Route = Schemas['GatewayRoute']
export type Version = Schemas['GatewayVersion']
export type Filter = Schemas['GatewayFilter']
export type HeaderMatch = Schemas['GatewayHeaderMatch']
export type Key = Schemas['GatewayKey']

/** The application as which gateways report what they count: one command for each route, at the caller. */
export const gatewayApp = 'weir-system/gateway'

/** keyText is "namespace/name". */
export function keyText(k: Key): string {
  return `${k.namespace}/${k.name}`
}

/** routePath is the address of a route, or of a view of it. */
export function routePath(key: string, view?: 'edit'): string {
  const path = `/routes/${key.split('/').map(encodeURIComponent).join('/')}`
  return view ? `${path}/${view}` : path
}

/** tracesOf is the address of the traces of a route's requests. */
export function tracesOf(key: string, params: Patch = {}): string {
  return link('/traces', { app: gatewayApp, tags: `weir.route=${key}`, ...params })
}

/** listOf takes what documents may write as one text or as a list. */
export function listOf(v: string | string[] | null | undefined): string[] {
  if (v === undefined || v === null || v === '') return []
  return Array.isArray(v) ? v : [v]
}

/** appOf is the application that serves a route; none for a URL. */
export function appOf(r: Route): string | undefined {
  return r.upstream.dubbo?.app ?? (r.upstream.app || undefined)
}

/** shortName is a Java name without its package. */
export function shortName(java: string): string {
  return java.slice(java.lastIndexOf('.') + 1)
}

/** dubboCommand is the command as which the method of a Dubbo route is counted. */
export function dubboCommand(r: Route): string | undefined {
  const d = r.upstream.dubbo
  return d && `${shortName(d.interface)}.${d.method}`
}

export const filterKinds = ['stripPrefix', 'addPrefix', 'setPath', 'rewrite', 'requestHeaders', 'responseHeaders', 'hostHeader', 'timeout', 'retry', 'breaker', 'fallback', 'bodyLimit'] as const
export type FilterKind = (typeof filterKinds)[number]

/** Filters that hold for the whole route wherever they stand. */
export const onceKinds: readonly FilterKind[] = ['hostHeader', 'timeout', 'retry', 'breaker', 'fallback', 'bodyLimit']
/** Filters of what a Dubbo upstream does not have. */
export const pathKinds: readonly FilterKind[] = ['stripPrefix', 'addPrefix', 'setPath', 'rewrite', 'hostHeader']

/** kindOf is what a filter does; undefined for one that does nothing known. */
export function kindOf(f: Filter | null | undefined): FilterKind | undefined {
  return filterKinds.find((k) => f?.[k] !== undefined)
}

/** filtersFor are the filters that may be added to a route. */
export function filtersFor(r: { filters?: Filter[] | null; upstream?: { dubbo?: unknown } }): FilterKind[] {
  const has = new Set((r.filters ?? []).map(kindOf))
  return filterKinds.filter((k) => !(onceKinds.includes(k) && has.has(k)) && !(r.upstream?.dubbo !== undefined && pathKinds.includes(k)))
}

/** pathVars are the variables of a path's pattern. */
export function pathVars(path: string | undefined): string[] {
  return [...(path ?? '').matchAll(/\{([^{}]+?)(?:\.\.\.)?\}/g)].map((m) => m[1]!)
}

/** sampleOf is a request that a route would take, as far as it can be made up. */
export function sampleOf(r: Route): { method: string; url: string; headers: string[] } {
  const host = listOf(r.match.host)[0]?.replace(/^\*\./, 'any.') ?? 'localhost'
  const path = (r.match.path || '/').replace(/\{([^{}]+?)(?:\.\.\.)?\}/g, '$1')
  const headers: string[] = []
  for (const h of r.match.header ?? []) {
    if (h.equals) headers.push(`${h.name}: ${h.equals}`)
    else if (h.present) headers.push(`${h.name}: 1`)
  }
  return { method: listOf(r.match.method)[0] ?? 'GET', url: `http://${host}${path}`, headers }
}

/** explainPath is the address of an explanation; headers are lines of "name: value". */
export function explainPath(s: { method: string; url: string; headers: string[]; body?: string }): string {
  const q = new URLSearchParams({ method: s.method, url: s.url })
  for (const h of s.headers) q.append('header', h)
  if (s.body) q.set('body', s.body)
  return `/routes/explain?${q}`
}

/** headersOf reads lines of "name: value" as an API takes them; what is no header is told apart. */
export function headersOf(lines: string[]): { headers: Record<string, string[]>; wrong: string[] } {
  const headers: Record<string, string[]> = {}
  const wrong: string[] = []
  for (const line of lines) {
    if (line.trim() === '') continue
    const i = line.indexOf(':')
    const name = line.slice(0, Math.max(0, i)).trim()
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) wrong.push(line)
    else (headers[name] ??= []).push(line.slice(i + 1).trim())
  }
  return { headers, wrong }
}
