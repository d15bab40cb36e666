// The commands of an application: those it serves, and those it calls.
import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import type { Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { appPath, since, useAddress, type Address, type Range } from '~/app/address'
import { words as shared } from '~/app/words'
import { lang } from '~/i18n'
import * as format from '~/i18n/format'
import { seriesKey } from '~/live/store'
import { Badge, Button, Card, Notice } from '~/ui/basic'
import { States } from '~/ui/circuit'
import { FilterInput, matches } from '~/ui/field'
import { rangeText } from '~/ui/range'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Ago } from '~/ui/time'
import { Command } from './command'
import { Percent } from './health'
import { words as w } from './words'

export type CommandTotal = Schemas['GovernanceApiCommandTotal']

export interface Place {
  app: string
  namespace: string
  name: string
  range: Range
}

/** A series as an address names it. */
export interface Chosen {
  command: string
  at: 'provider' | 'caller'
  peer?: string
}

/** chosenOf reads which series an address names; undefined for none. */
export function chosenOf(get: (name: string) => string | undefined): Chosen | undefined {
  const command = get('command')
  if (!command) return undefined
  const at = get('at') === 'caller' ? 'caller' : 'provider'
  const peer = get('peer')
  return at === 'caller' && peer ? { command, at, peer } : { command, at }
}

/** found is the series that was meant, where an address leaves open on which side it is: a command that is only called from here is the caller's. */
export function found(chosen: Chosen | undefined, items: readonly CommandTotal[], said: boolean): Chosen | undefined {
  if (!chosen || (said && (chosen.at === 'provider' || chosen.peer))) return chosen
  const all = items.filter((c) => c.command === chosen.command && (!said || c.at === chosen.at))
  const c = all.find((x) => x.at === 'provider') ?? all[0]
  return c ? { command: c.command, at: c.at === 'caller' ? 'caller' : 'provider', ...(c.peer ? { peer: c.peer } : {}) } : chosen
}

export function Commands({ app, namespace, name, range }: Place) {
  const address = useAddress()
  const query = useGet('/api/v1/apps/{namespace}/{name}/commands', { path: { namespace, name }, query: since(range) }, { every: range.name ? 10_000 : false })
  const items = query.data?.items ?? []
  const chosen = found(chosenOf(address.get), items, address.get('at') !== undefined)
  const total = chosen && items.find((c) => seriesKey(c) === seriesKey(chosen))
  const ready = query.data !== undefined || query.error !== null
  return (
    <>
      {chosen && ready && <Command key={`${app}#${seriesKey(chosen)}`} app={app} namespace={namespace} name={name} range={range} series={chosen} total={total} />}
      <Loaded
        query={query}
        isEmpty={(d) => d.items.length === 0}
        empty={
          <Empty icon="clock" title={w('noCommands')}>
            {w('noCommandsHint')}
          </Empty>
        }
      >
        {(d) => (
          <>
            {d.cut && <Notice tone="warn">{shared('cut')}</Notice>}
            <Tables items={d.items} chosen={chosen} address={address} range={range} />
          </>
        )}
      </Loaded>
    </>
  )
}

function Tables({ items, chosen, address, range }: { items: CommandTotal[]; chosen: Chosen | undefined; address: Address; range: Range }) {
  const q = address.get('q')
  const groups = useMemo(() => {
    const shown = items.filter((c) => matches(q, c.command, c.peer))
    const peers = [...new Set(shown.filter((c) => c.at === 'caller').map((c) => c.peer ?? ''))].sort()
    return [
      { peer: undefined as string | undefined, rows: shown.filter((c) => c.at !== 'caller') },
      ...peers.map((peer) => ({ peer: peer as string | undefined, rows: shown.filter((c) => c.at === 'caller' && (c.peer ?? '') === peer) })),
    ].filter((g) => g.rows.length > 0)
  }, [items, q])
  const columns = useMemo(() => commandColumns(address), [address, lang.value])
  const is = chosen && seriesKey(chosen)
  return (
    <>
      <div class="row">
        <p class="muted">
          {rangeText(range)}
          {!chosen && ` · ${w('pick')}`}
        </p>
        <span class="push">
          <FilterInput />
        </span>
      </div>
      {groups.length === 0 && <Empty title={w('noCommands')} action={<Button onClick={() => address.set({ q: undefined })}>{w('all')}</Button>} />}
      {groups.map((g) => (
        <Card key={g.peer ?? '-'} flush title={g.peer === undefined ? w('serves') : g.peer === '' ? w('callsUnknown') : <Calls peer={g.peer} />}>
          <Table label={g.peer === undefined ? w('serves') : g.peer === '' ? w('callsUnknown') : w('calls', { peer: g.peer })} columns={columns} rows={g.rows} rowKey={seriesKey} order="-state" selected={(c) => seriesKey(c) === is} limit={50} />
        </Card>
      ))}
    </>
  )
}

function Calls({ peer }: { peer: string }) {
  const [before = '', after = ''] = w('calls', { peer: '\n' }).split('\n')
  return (
    <>
      {before}
      <Link href={appPath(peer)}>{peer}</Link>
      {after}
    </>
  )
}

const badStates = { forcedOpen: 3, open: 4, halfOpen: 2, forcedClosed: 0.5, disabled: 0.25 }

/** trouble orders commands: open circuits first, then errors, then refusals. */
export function trouble(c: Pick<CommandTotal, 'states' | 'errorPercent' | 'refusedPercent' | 'rate'>): number {
  const worst = Math.max(0, ...Object.entries(c.states).map(([s, n]) => (n > 0 ? (badStates[s as keyof typeof badStates] ?? 0) : 0)))
  return worst * 1000 + c.errorPercent * 5 + c.refusedPercent + Math.min(0.9, c.rate / 1e6)
}

export function commandColumns(address: Address): Column<CommandTotal>[] {
  const to = (c: CommandTotal) => address.with({ command: c.command, at: c.at === 'caller' ? 'caller' : undefined, peer: c.peer })
  return [
    {
      key: 'command', label: w('command'), class: 'name', sort: (c) => c.command,
      cell: (c) => (
        <>
          <Link href={to(c)} class="mono">
            {c.command}
          </Link>{' '}
          {c.lossy && (
            <Badge tone="info" title={w('lossyHelp')}>
              {w('lossy')}
            </Badge>
          )}
        </>
      ),
    },
    { key: 'state', label: w('state'), sort: trouble, cell: (c) => <States states={c.states} /> },
    { key: 'rate', label: w('rate'), end: true, sort: (c) => c.rate, cell: (c) => format.rate(c.rate) },
    { key: 'errors', label: w('errorRate'), end: true, sort: (c) => c.errorPercent, cell: (c) => <Percent v={c.errorPercent} calls={c.calls > 0} /> },
    { key: 'refused', label: w('refusedRate'), end: true, sort: (c) => c.refusedPercent, cell: (c) => <Percent v={c.refusedPercent} calls={c.calls > 0} /> },
    { key: 'p50', label: w('p50'), end: true, sort: (c) => c.p50Ms, cell: (c) => format.ms(c.p50Ms) },
    { key: 'p99', label: w('p99'), end: true, sort: (c) => c.p99Ms, cell: (c) => format.ms(c.p99Ms) },
    { key: 'max', label: w('max'), end: true, sort: (c) => c.maxMs, cell: (c) => format.ms(c.maxMs) },
    { key: 'inflight', label: w('mostInFlight'), end: true, sort: (c) => c.inFlight, cell: (c) => format.count(c.inFlight) },
    { key: 'instances', label: w('instances'), end: true, sort: (c) => c.instances, cell: (c) => <Link href={address.with({ tab: 'instances', command: c.command, at: c.at === 'caller' ? 'caller' : undefined, peer: c.peer })}>{c.instances}</Link> },
    { key: 'last', label: w('last'), end: true, sort: (c) => (c.last ? Date.parse(c.last) : undefined), cell: (c) => <Ago at={c.last} /> },
  ]
}
