// What the live stream told. Health is of all applications, seconds are of those
// that a view watches.
import { batch, signal } from '@preact/signals'
import type { Schemas } from '~/api/client'
import { refresh, refreshSoon } from '~/api/query'

export type AppHealth = Schemas['GovernanceApiAppHealth']
export type LiveEvent = Schemas['GovernanceEvent']

/** What one command counted in one second. */
export type Second = Schemas['GovernanceApiLiveSample']

/** Health of every application that is known, by "namespace/name". */
export const health = signal<ReadonlyMap<string, AppHealth>>(new Map())
/** The server's clock less this one's, in ms. */
export const skew = signal(0)
/** What happened while the tab was open, the newest first, 500 at most. */
export const events = signal<readonly LiveEvent[]>([])
/** Grows with each batch of seconds. */
export const samplesVersion = signal(0)

/** How many seconds are kept for the live charts. */
export const keptSeconds = 600

type SeriesKey = string
const seconds = new Map<string, Map<SeriesKey, Map<number, Second>>>()

/** seriesKey names a series within its application. */
export function seriesKey(s: { command: string; at: string; peer?: string }): SeriesKey {
  return `${s.at}|${s.peer ?? ''}|${s.command}`
}

/** secondsOf returns what is known of a series, by second. Read samplesVersion to learn when it grew. */
export function secondsOf(app: string, series: { command: string; at: string; peer?: string }): ReadonlyMap<number, Second> {
  return seconds.get(app)?.get(seriesKey(series)) ?? none
}
const none: ReadonlyMap<number, Second> = new Map()

/** forget drops the seconds of an application: others are to come in their place. */
export function forget(app: string) {
  seconds.delete(app)
}

export function takeHello(m: { now: string }) {
  skew.value = Date.parse(m.now) - Date.now()
}

/** Since when the server cannot read what the stream tells of, as RFC 3339; undefined while it can. */
export const sourceStale = signal<string | undefined>(undefined)

export function takeHealth(m: { full?: boolean; items?: AppHealth[]; gone?: string[]; stale?: string }) {
  sourceStale.value = m.stale
  const items = m.items ?? []
  const gone = m.gone ?? []
  if (!m.full && items.length === 0 && gone.length === 0) return
  const next = m.full ? new Map<string, AppHealth>() : new Map(health.value)
  for (const h of items) next.set(h.app, h)
  for (const app of gone) next.delete(app)
  health.value = next
}

export function takeSamples(m: { app: string; backfill?: boolean; items?: Second[] }) {
  let app = seconds.get(m.app)
  if (m.backfill || !app) {
    app = new Map()
    seconds.set(m.app, app)
  }
  for (const s of m.items ?? []) {
    const key = seriesKey(s)
    let series = app.get(key)
    if (!series) app.set(key, (series = new Map()))
    series.set(s.second, s) // a late report replaces what was told of a second before
    if (series.size > keptSeconds + 60) prune(series)
  }
  grown()
}

// Reads without subscribing: an effect that takes or drops seconds must not run again for it.
function grown() {
  samplesVersion.value = samplesVersion.peek() + 1
}

function prune(series: Map<number, Second>) {
  const newest = Math.max(...series.keys())
  for (const s of series.keys()) if (s < newest - keptSeconds) series.delete(s)
}

export function takeEvent(e: LiveEvent) {
  if (events.value.some((x) => x.id === e.id)) return
  events.value = [e, ...events.value].slice(0, 500)
  if (e.kind.startsWith('policy.')) refresh('/api/v1/policies', '/api/v1/switches')
  refreshSoon('/api/v1/events', '/api/v1/overview')
}

const topics: Record<string, string[]> = {
  policies: ['/api/v1/policies', '/api/v1/switches', '/api/v1/overview'],
  routes: ['/api/v1/routes', '/api/v1/route-status', '/api/v1/gateways', '/api/v1/overview'],
  events: ['/api/v1/events', '/api/v1/overview'],
  fleet: ['/api/v1/apps', '/api/v1/policies', '/api/v1/switches'],
}

export function takeChange(m: { topics?: string[] }) {
  refresh(...(m.topics ?? []).flatMap((t) => topics[t] ?? []))
}

/** forgetAll drops all that was told: whoever logs in next may not see as much. */
export function forgetAll() {
  batch(() => {
    seconds.clear()
    grown()
    health.value = new Map()
    events.value = []
    sourceStale.value = undefined
  })
}
