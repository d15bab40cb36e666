// How routes are: what their documents, their traffic, their endpoints, the
// gateways and the check of the whole table say, joined by route.
import type { Schemas } from '~/api/client'
import { say } from '~/said'
import { keyText, type Route, type Version } from '~/views/routes/route'
import { t } from '~/views/routes/words'

export type RouteStatus = Schemas['GovernanceConsoleRouteStatus']
export type UpstreamStatus = Schemas['GovernanceConsoleRouteUpstream']

export type Finding = Schemas['GatewayApiFinding']
export type Warning = Schemas['GatewayWarning']

/** Trouble is one thing that is not well with a route. */
export interface Trouble {
  kind: 'quarantined' | 'unreadable' | 'shadowed' | 'duplicate' | 'unknownApp' | 'noEndpoint' | 'open' | 'notServed' | 'held' | 'doubtful'
  tone: 'bad' | 'warn' | 'forced'
  word: string
  text: string
}

export interface Row {
  key: string
  route: Route
  version: Version
  status?: RouteStatus
  troubles: Trouble[]
}

/** rowsOf joins versions with what is known of each. */
export function rowsOf(versions: readonly Version[], statuses: readonly RouteStatus[] | undefined, checked: Checked | undefined): Row[] {
  const status = new Map(statuses?.map((s) => [s.route, s]))
  const findings = grouped(checked?.findings)
  const warnings = grouped(checked?.warnings)
  return versions.map((version) => {
    const key = keyText(version.route)
    const s = status.get(key)
    return { key, route: version.route, version, status: s, troubles: troublesOf(version, s, findings.get(key), warnings.get(key)) }
  })
}

/** worstFirst orders rows by what is wrong with them, and else by name. */
export function worstFirst(rows: readonly Row[]): Row[] {
  const weight = (r: Row) => (r.troubles.some((x) => x.tone !== 'warn') ? 0 : r.troubles.length > 0 ? 1 : 2)
  return [...rows].sort((a, b) => weight(a) - weight(b) || a.key.localeCompare(b.key))
}

/** Checked is what a rehearsal says of routes as they are. */
export interface Checked {
  findings: Finding[]
  warnings: Warning[]
  unfinished: boolean
}

function grouped<T extends { route: Schemas['GatewayKey'] }>(items: readonly T[] | undefined): Map<string, T[]> {
  const out = new Map<string, T[]>()
  for (const i of items ?? []) {
    const key = keyText(i.route)
    out.set(key, [...(out.get(key) ?? []), i])
  }
  return out
}

/** troublesOf lists what is not well, the worst first. */
export function troublesOf(version: Version, s: RouteStatus | undefined, findings: Finding[] = [], warnings: Warning[] = []): Trouble[] {
  const out: Trouble[] = []
  if (version.unreadable) out.push({ kind: 'unreadable', tone: 'bad', word: t('unreadable'), text: say(version.unreadable) })
  for (const q of s?.quarantined ?? []) out.push({ kind: 'quarantined', tone: 'bad', word: t('quarantined'), text: `${q.gateway}: ${say(q.reason)}` })
  if (!version.route.disabled) {
    for (const u of s?.upstreams ?? []) {
      if (u.known === undefined || (u.known && u.hidden)) continue
      if (!u.known) out.push({ kind: 'unknownApp', tone: 'bad', word: t('unknownApp'), text: u.app })
      else if (u.callable === 0) out.push({ kind: 'noEndpoint', tone: 'bad', word: t('noEndpoint'), text: `${u.app}: ${t('noneCallable', { instances: u.instances })}` })
      else if (u.held.length > 0) out.push({ kind: 'held', tone: 'warn', word: t('held', { n: heldOf(u) }), text: `${u.app}: ${heldWords(u)}` })
    }
    if (s && !(s.quarantined.length > 0) && s.serving < s.gateways) out.push({ kind: 'notServed', tone: 'warn', word: t('notServed'), text: t('ofGateways', { serving: s.serving, gateways: s.gateways }) })
  }
  for (const f of findings) out.push({ kind: f.kind, tone: 'warn', word: t(f.kind), text: say(f.message) })
  for (const w of warnings) {
    // The registry's own word on the same application is there already.
    if (w.unknown && out.some((x) => x.kind === 'unknownApp')) continue
    out.push(w.unknown ? { kind: 'unknownApp', tone: 'bad', word: t('unknownApp'), text: say(w.message) } : { kind: 'doubtful', tone: 'warn', word: t('doubtful'), text: say(w.message) })
  }
  const states = Object.entries(s?.states ?? {}).filter(([state, n]) => n > 0 && ['open', 'forcedOpen', 'halfOpen'].includes(state))
  if (states.length > 0) out.push({ kind: 'open', tone: states.some(([state]) => state === 'forcedOpen') ? 'forced' : 'bad', word: t('circuitOpen'), text: t('circuitOpenText') })
  const weight = { bad: 0, forced: 1, warn: 2 }
  return out.sort((a, b) => weight[a.tone] - weight[b.tone])
}

export function heldOf(u: UpstreamStatus): number {
  return u.held.reduce((n, h) => n + h.instances, 0)
}

export function heldWords(u: UpstreamStatus): string {
  return u.held.map((h) => t('heldWhy', { n: h.instances, why: say(h.why) })).join('; ')
}

/** callableShare is what a list is sorted by: the routes with the fewest callable endpoints first. */
export function callableShare(s: RouteStatus | undefined): number | undefined {
  const told = s?.upstreams.filter((u) => !u.hidden) ?? []
  if (told.length === 0) return undefined
  return Math.min(...told.map((u) => (u.instances === 0 ? 0 : u.callable / u.instances)))
}

/** batches parts routes into requests that no server finds too large. */
export function batches(routes: readonly Route[], most = 900_000): Route[][] {
  const out: Route[][] = []
  let size = Infinity
  for (const r of routes) {
    const length = JSON.stringify(r).length * 3 // a letter may take three bytes
    if (size + length > most) {
      out.push([])
      size = 0
    }
    out[out.length - 1]!.push(r)
    size += length
  }
  return out
}
