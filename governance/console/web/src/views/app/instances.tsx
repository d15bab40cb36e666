// The instances of an application: what each enforces, and how each does beside
// the others.
import type { UseQueryResult } from '@tanstack/preact-query'
import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import type { Problem, Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { appPath, link, since, useAddress } from '~/app/address'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { seriesKey } from '~/live/store'
import { Said, say } from '~/said'
import { Badge, Card, Notice } from '~/ui/basic'
import { States } from '~/ui/circuit'
import { Copy } from '~/ui/copy'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Ago } from '~/ui/time'
import { chosenOf, found, type Chosen, type CommandTotal, type Place } from './commands'
import { Percent } from './health'
import { policyPath } from './marks'
import { namesOf } from './names'
import { odd, type Oddness } from './odd'
import { words as w } from './words'

export type Detail = Schemas['GovernanceApiAppDetail']
type Instance = Schemas['GovernanceApiAppInstance']

export function Instances({ app, namespace, name, range, detail }: Place & { detail: UseQueryResult<Detail, Problem> }) {
  const address = useAddress()
  const wanted = address.get('instance')
  const totals = useGet('/api/v1/apps/{namespace}/{name}/commands', { path: { namespace, name }, query: { ...since(range), byInstance: true } }, { every: range.name ? 10_000 : false })
  return (
    <>
      <Loaded
        query={detail}
        isEmpty={(d) => (d.instances ?? []).length === 0}
        empty={
          <Empty icon="apps" title={w('noInstances')}>
            {w('noInstancesHint')}
          </Empty>
        }
      >
        {(d) => (
          <Card flush title={w('instances')}>
            <Table label={w('instances')} columns={columnsOf(namespace, name, namesOf(d.instances ?? []))} rows={d.instances ?? []} rowKey={(i) => i.instance} order="policies" selected={(i) => i.instance === wanted || i.name === wanted} />
          </Card>
        )}
      </Loaded>
      <Loaded query={totals} isEmpty={(d) => d.items.length === 0} empty={null}>
        {(d) => (
          <>
            {d.cut && <Notice tone="warn">{shared('cut')}</Notice>}
            <Compare app={app} items={d.items} names={namesOf(detail.data?.instances ?? [])} />
          </>
        )}
      </Loaded>
    </>
  )
}

/** place orders instances: those that refuse first, then those behind. */
function place(i: Instance): number {
  return i.applied?.refused || i.applied?.unmet?.length ? 0 : i.current && !i.lacks?.length ? 2 : 1
}

function Applied({ of: i }: { of: Instance }) {
  const unmet = i.applied?.unmet ?? []
  return (
    <span class="stack tight">
      <State of={i} />
      {unmet.map((u) => (
        <span key={u.policy} class="why">
          <Link href={policyPath(u.policy)}>{w('unmetWhy', { policy: u.policy, reason: say(u.reason) })}</Link>
        </span>
      ))}
      {(i.lacks ?? []).map((lack) => (
        <span key={lack} class="why">
          {w('lacks', { what: say(lack) })}
        </span>
      ))}
    </span>
  )
}

function State({ of: i }: { of: Instance }) {
  const r = i.applied?.refused
  if (r) {
    return (
      <span class="stack tight">
        <Badge tone="bad">{w('refusingOf', { n: 1 })}</Badge>
        <span class="why">
          {r.policy ? <Link href={policyPath(r.policy)}>{w('refusedWhy', { policy: r.policy, reason: say(r.reason) })}</Link> : <Said text={r.reason} />}
        </span>
      </span>
    )
  }
  if (!i.applied) return <Badge tone="warn" icon="clock">{w('noWord')}</Badge>
  return i.current ? <Badge tone="ok">{w('current')}</Badge> : <Badge tone="warn" icon="clock">{w('isBehind')}</Badge>
}

function columnsOf(namespace: string, name: string, names: ReadonlyMap<string, string>): Column<Instance>[] {
  return [
    {
      key: 'name', label: w('name'), class: 'name', sort: (i) => i.name ?? i.instance,
      cell: (i) => (
        <span class="row tight">
          <Link class="mono" title={w('registryInstance')} href={link(`/registry/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`, { instance: i.name ?? i.instance })}>
            {names.get(i.instance)}
          </Link>
          <Copy text={i.instance} />
        </span>
      ),
    },
    { key: 'policies', label: w('policyState'), sort: place, cell: (i) => <Applied of={i} /> },
    { key: 'version', label: w('version'), end: true, sort: (i) => i.applied?.version, cell: (i) => w('versionOf', { applied: i.applied ? String(i.applied.version) : '–', wanted: String(i.wanted) }) },
    { key: 'sdk', label: w('sdk'), sort: (i) => i.sdk, cell: (i) => i.sdk ?? <span class="muted">–</span> },
    { key: 'joined', label: w('joined'), end: true, sort: (i) => Date.parse(i.joined), cell: (i) => <Ago at={i.joined} /> },
    { key: 'seen', label: w('seen'), end: true, sort: (i) => Date.parse(i.seen), cell: (i) => <Ago at={i.seen} /> },
    { key: 'calls', label: w('callsApps'), cell: (i) => <Callees apps={i.calls ?? []} /> },
  ]
}

function Callees({ apps }: { apps: string[] }) {
  if (apps.length === 0) return <span class="muted">–</span>
  return (
    <span class="row tight">
      {apps.slice(0, 6).map((a) => (
        <Link key={a} href={appPath(a)}>
          {a}
        </Link>
      ))}
      {apps.length > 6 && <span class="muted">+{apps.length - 6}</span>}
    </span>
  )
}

/** Compare shows what each instance counted of one command, beside the others. */
function Compare({ app, items, names }: { app: string; items: CommandTotal[]; names: ReadonlyMap<string, string> }) {
  const address = useAddress()
  const series = useMemo(() => {
    const all = new Map<string, { of: CommandTotal; calls: number }>()
    for (const c of items) {
      const have = all.get(seriesKey(c))
      if (have) have.calls += c.calls
      else all.set(seriesKey(c), { of: c, calls: c.calls })
    }
    return [...all.values()].sort((a, b) => b.calls - a.calls).map((x) => x.of)
  }, [items])
  const chosen = found(chosenOf(address.get), items, address.get('at') !== undefined) ?? (series[0] as Chosen | undefined)
  const key = chosen && seriesKey(chosen)
  const rows = items.filter((c) => seriesKey(c) === key)
  const odds = odd(rows.map((c) => ({ instance: c.instance ?? '', calls: c.calls, errorPercent: c.errorPercent, p99Ms: c.p99Ms })))
  const choose = (k: string) => {
    const s = series.find((x) => seriesKey(x) === k)
    if (s) address.set({ command: s.command, at: s.at === 'caller' ? 'caller' : undefined, peer: s.peer }, { replace: true })
  }
  return (
    <Card
      flush
      title={w('compareTitle')}
      actions={
        <select class="select" aria-label={w('compare')} value={key} onChange={(e) => choose(e.currentTarget.value)}>
          {series.map((s) => (
            <option key={seriesKey(s)} value={seriesKey(s)}>
              {s.at === 'caller' ? `${s.command} (${s.peer ? w('callsPeer', { peer: s.peer }) : w('caller')})` : s.command}
            </option>
          ))}
        </select>
      }
    >
      <Table label={w('compareTitle')} param="csort" columns={compareColumns(app, names, odds)} rows={rows} rowKey={(c) => c.instance ?? ''} order="-odd" empty={<Empty title={w('noCompare')} />} />
    </Card>
  )
}

function compareColumns(app: string, names: ReadonlyMap<string, string>, odds: ReadonlyMap<string, Oddness[]>): Column<CommandTotal>[] {
  const of = (c: CommandTotal) => odds.get(c.instance ?? '') ?? []
  return [
    {
      key: 'instance', label: w('instance'), class: 'name', sort: (c) => names.get(c.instance ?? '') ?? c.instance,
      cell: (c) => (
        <Link class="mono" title={w('charts')} href={appPath(app, { command: c.command, at: c.at === 'caller' ? 'caller' : undefined, peer: c.peer, instance: c.instance })}>
          {names.get(c.instance ?? '') ?? c.instance}
        </Link>
      ),
    },
    {
      key: 'odd', label: w('odd'), sort: (c) => of(c).length,
      cell: (c) =>
        of(c).length === 0 ? (
          <span class="muted">–</span>
        ) : (
          <span class="row tight">
            {of(c).map((o) => (
              <Badge key={o} tone={o === 'idle' ? 'idle' : 'warn'}>
                {w(`odd.${o}`)}
              </Badge>
            ))}
          </span>
        ),
    },
    { key: 'state', label: w('state'), cell: (c) => <States states={c.states} /> },
    { key: 'rate', label: w('rate'), end: true, sort: (c) => c.rate, cell: (c) => format.rate(c.rate) },
    { key: 'errors', label: w('errorRate'), end: true, sort: (c) => c.errorPercent, cell: (c) => <Percent v={c.errorPercent} calls={c.calls > 0} /> },
    { key: 'refused', label: w('refusedRate'), end: true, sort: (c) => c.refusedPercent, cell: (c) => <Percent v={c.refusedPercent} calls={c.calls > 0} /> },
    { key: 'p50', label: w('p50'), end: true, sort: (c) => c.p50Ms, cell: (c) => format.ms(c.p50Ms) },
    { key: 'p99', label: w('p99'), end: true, sort: (c) => c.p99Ms, cell: (c) => format.ms(c.p99Ms) },
    { key: 'max', label: w('max'), end: true, sort: (c) => c.maxMs, cell: (c) => format.ms(c.maxMs) },
    { key: 'inflight', label: w('mostInFlight'), end: true, sort: (c) => c.inFlight, cell: (c) => format.count(c.inFlight) },
  ]
}
