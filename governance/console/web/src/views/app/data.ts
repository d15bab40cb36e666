// What the charts of a command are drawn from: the past, read once and again from
// time to time, and live seconds at its end.
import { useEffect, useMemo, useState } from 'preact/hooks'
import { useGet } from '~/api/query'
import { since, type Range } from '~/app/address'
import { clock } from '~/app/clock'
import { lang } from '~/i18n'
import { forget, samplesVersion, secondsOf, skew, type Second } from '~/live/store'
import { liveState, watch } from '~/live/stream'
import { bands, ofSeries } from './bands'
import type { Chosen, CommandTotal } from './commands'
import { marksOf, type Ending } from './marks'
import { namesOf } from './names'
import { joined, pastPoints, stepOf, wantedStep } from './series'

/** How long what was counted in a second is on its way, in seconds: the newest are not complete yet. */
const lag = 3

/** How often the past is read again while seconds come in live, in seconds: less than the time for which those are kept. */
const renew = 240

const none: ReadonlyMap<number, Second> = new Map()

interface Wanted {
  app: string
  namespace: string
  name: string
  range: Range
  series: Chosen
  total: CommandTotal | undefined
  instance: string | undefined
}

export function useCommand({ app, namespace, name, range, series, total, instance }: Wanted) {
  // The rate decides how fine the charts are, once: they would jump otherwise.
  const [rate] = useState(total?.rate)
  const step = wantedStep(range.seconds, rate)
  const mayLive = range.name !== undefined && range.seconds <= 900 && step === 1
  const streaming = liveState.value === 'live'
  const live = mayLive && streaming
  useWatch(mayLive ? app : undefined, instance)

  // While seconds come in, the past is only read again before they would be forgotten.
  const [anchor, setAnchor] = useState(() => Math.ceil(range.to))
  useEffect(() => {
    if (!live || range.to - anchor >= renew || range.to < anchor - renew) setAnchor(Math.ceil(range.to))
  }, [live, range.to, anchor])
  useEffect(() => setAnchor(Math.ceil(range.to)), [range.seconds, instance, streaming])
  const end = range.name === undefined ? range.to : anchor
  const past = useGet(
    '/api/v1/apps/{namespace}/{name}/series',
    {
      path: { namespace, name },
      query: {
        command: series.command, at: series.at, peer: series.peer, instance, ...(step === undefined ? {} : { step: `${step}s` }),
        from: new Date((end - range.seconds) * 1000).toISOString(), to: new Date(end * 1000).toISOString(),
      },
    },
    { staleTime: 60_000 },
  )

  const happened = useHappened(app, series, instance, range)
  const second = Math.floor((clock.value + skew.value) / 1000)
  const to = range.name === undefined ? range.to : live ? second : Math.max(range.to, anchor)
  const from = to - range.seconds
  const old = useMemo(() => pastPoints(past.data), [past.data])
  const version = samplesVersion.value
  const until = range.name === undefined ? range.to : Math.min(to, second - lag)
  const points = useMemo(() => joined(old, live ? secondsOf(app, series) : none, from, until), [old, live, version, app, series.command, series.at, series.peer, from, until])
  const shownBands = useMemo(
    () => bands(happened.transitions, points, from, to, range.name && !instance ? total?.states : undefined),
    [happened.transitions, points, from, to, range.name, instance, total?.states],
  )
  return {
    points, from, to, live,
    waits: mayLive && liveState.value === 'stale',
    step: past.data ? stepOf(past.data) : (step ?? 1),
    loading: past.data === undefined && past.error === null,
    error: past.error,
    cut: past.data?.cut === true,
    retry: () => void past.refetch(),
    bands: shownBands,
    marks: happened.marks,
    instances: happened.instances,
  }
}

function useWatch(app: string | undefined, instance: string | undefined) {
  useEffect(() => {
    if (app === undefined) return
    forget(app) // seconds of another instance, or from before a pause
    return watch(app, instance)
  }, [app, instance])
}

/** useHappened reads what happened to circuits, policies and instances in a range. */
function useHappened(app: string, series: Chosen, instance: string | undefined, range: Range) {
  const [namespace = '', name = ''] = app.split('/')
  const query = since(range)
  const circuits = useGet('/api/v1/events', { query: { ...query, app, command: series.command, kind: ['transition'], limit: 5000 } })
  const deeds = useGet('/api/v1/events', { query: { ...query, app, kind: ['policy.published,policy.deleted,policy.confirmed,policy.refused,instance.joined,instance.left'], limit: 5000 } })
  // What is enforced here about calls to another application is that one's.
  const peers = useGet('/api/v1/events', { query: { ...query, app: series.peer, kind: ['policy.published,policy.deleted,policy.confirmed,policy.refused'], limit: 5000 } }, { enabled: series.peer !== undefined })
  const policies = useGet('/api/v1/policies', { query: { app: series.peer ?? app, expired: true } })
  const detail = useGet('/api/v1/apps/{namespace}/{name}', { path: { namespace, name }, query })

  const transitions = useMemo(
    () => ofSeries([...(circuits.data?.items ?? []), ...(deeds.data?.items ?? []).filter((e) => e.kind === 'instance.left')], series, instance),
    [circuits.data, deeds.data, series.command, series.at, series.peer, instance],
  )
  const marks = useMemo(() => {
    const known = policies.data?.items ?? []
    const keyOf = (p: { namespace?: string; name?: string }) => `${p.namespace ?? ''}/${p.name ?? ''}`
    const endings = known.flatMap((p): Ending[] => (p.expired && p.policy.expires ? [{ policy: keyOf(p.policy), version: p.version, expires: p.policy.expires }] : []))
    return marksOf({
      events: [...(deeds.data?.items ?? []), ...(series.peer === undefined ? [] : (peers.data?.items ?? []))],
      command: series.command,
      switches: new Set(known.filter((p) => p.policy.kind === 'switch').map((p) => keyOf(p.policy))),
      endings,
      bundle: Math.max(20, range.seconds / 60),
    })
  }, [deeds.data, peers.data, policies.data, series.command, series.peer, range.seconds, lang.value])
  const instances = useMemo(() => {
    const all = namesOf(detail.data?.instances ?? [])
    if (instance && !all.has(instance)) all.set(instance, instance)
    return [...all].map(([id, text]) => ({ id, name: text })).sort((a, b) => a.name.localeCompare(b.name))
  }, [detail.data, instance])
  return { transitions, marks, instances }
}
