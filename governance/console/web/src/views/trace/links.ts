// Where a span leads: to the figures, policies and explanations of what it shows.
import { appPath, link } from '~/app/address'
import type { Span } from './rows'

export type LinkKind = 'chart' | 'explain' | 'policy' | 'events' | 'route' | 'instance' | 'like'

/** How long before and after a span its chart shows, in ms. */
const around = 5 * 60_000

/** named is the address of something called namespace/name; undefined for what is not called so. */
function named(path: string, name: string | undefined, params: Record<string, string | number | undefined> = {}): string | undefined {
  const m = /^([^/]+)\/([^/]+)$/.exec(name ?? '')
  return m ? link(`${path}/${encodeURIComponent(m[1]!)}/${encodeURIComponent(m[2]!)}`, params) : undefined
}

export function policyPath(s: Pick<Span, 'policy' | 'policyVersion'>): string | undefined {
  return named('/policies', s.policy, { version: s.policyVersion || undefined })
}

/** linksOf returns what there is of a span; traceStart is in microseconds since 1970. */
export function linksOf(s: Span, traceStart: number): [LinkKind, string][] {
  const out: [LinkKind, string | undefined][] = []
  const begin = (traceStart + s.start) / 1000
  const range = { from: Math.floor(begin - around), to: Math.ceil(begin + s.duration / 1000 + around) }
  // A caller's circuit is told apart by whom it calls.
  const series = { command: s.command, at: s.at, peer: s.at === 'caller' ? s.peer : undefined }
  if (s.app && s.command) {
    out.push(['chart', appPath(s.app, { ...series, ...range })], ['explain', appPath(s.app, { tab: 'explain', ...series, instance: s.instance })])
  }
  out.push(['policy', policyPath(s)])
  out.push(['route', named('/routes', tagOf(s, 'weir.route'))])
  if (s.app) out.push(['events', link('/events', { app: s.app, ...range })])
  if (s.app && s.instance) out.push(['instance', appPath(s.app, { tab: 'instances', instance: s.instance })])
  out.push(['like', likePath(s)])
  return out.filter((l): l is [LinkKind, string] => l[1] !== undefined)
}

export function tagOf(s: Pick<Span, 'tags'>, key: string): string | undefined {
  return s.tags.find((t) => t[0] === key)?.[1]
}

/** likePath searches for traces with spans like this one. */
export function likePath(s: Span): string | undefined {
  if (s.service === '' && !s.app) return undefined
  const who = s.app ? { app: s.app } : { service: s.service }
  return link('/traces', s.command ? { ...who, command: s.command } : { ...who, span: s.name })
}
