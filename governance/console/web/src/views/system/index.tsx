import type { Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { clock } from '~/app/clock'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { Said, say } from '~/said'
import { Badge, Button, Card, Facts, Notice } from '~/ui/basic'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { Ago, Time } from '~/ui/time'
import { byTable, fullness, versionsOf, type TableSum } from '~/views/system/sums'
import { words as w } from '~/views/system/words'

type System = Schemas['GovernanceConsoleSystem']

export default function SystemView() {
  const query = useGet('/api/v1/system', undefined, { every: 5_000 })
  return (
    <Page title={shared('system')} lead={w('lead')}>
      <Loaded query={query}>
        {(s) => (
          <>
            <Problems system={s} />
            <Nodes nodes={s.nodes} />
            <Queues queues={s.queues} />
            <div class="grid2">
              <Database db={s.database} />
              <Sdk system={s} />
            </div>
            <Storage partitions={s.partitions} />
            <p class="muted">{w('self', { version: s.version, time: format.time(s.started) })}</p>
          </>
        )}
      </Loaded>
    </Page>
  )
}

function Problems({ system: s }: { system: System }) {
  const versions = versionsOf(s.nodes)
  return (
    <>
      {!s.database.ok && (
        <Notice tone="bad" live>
          {s.database.since && <>{w('dbSince', { time: format.time(s.database.since) })} </>}
          {s.database.asOf ? w('dbDown', { why: say(s.database.error ?? ''), time: format.time(s.database.asOf) }) : w('dbDownNever', { why: say(s.database.error ?? '') })}
        </Notice>
      )}
      {s.unknown?.map((u) => (
        <Notice key={u.what} tone="warn">
          {w('unknown', { what: say(u.what), why: say(u.why) })}
        </Notice>
      ))}
      {versions.length > 1 && <Notice tone="warn">{w('skew', { versions: versions.map(([v, n]) => `${v} (${n})`).join(', ') })}</Notice>}
    </>
  )
}

function roleWord(role: string): string {
  const key = `role.${role}`
  return w.has(key) ? w(key) : role
}

function Nodes({ nodes }: { nodes: System['nodes'] }) {
  return (
    <Card flush title={w('nodes')}>
      <Table
        label={w('nodes')}
        rows={nodes}
        rowKey={(n) => `${n.role}/${n.name}`}
        empty={<Empty title={w('noNodes')} />}
        columns={[
          { key: 'node', label: w('node'), cell: (n) => n.name, sort: (n) => n.name, class: 'name' },
          { key: 'role', label: w('role'), cell: (n) => roleWord(n.role), sort: (n) => n.role },
          { key: 'version', label: w('version'), cell: (n) => <code>{n.version}</code>, sort: (n) => n.version },
          { key: 'started', label: w('started'), cell: (n) => (n.started ? <span title={format.fullTime(n.started)}>{format.span((clock.value - Date.parse(n.started)) / 1000)}</span> : '–'), sort: (n) => n.started },
          { key: 'seen', label: w('seen'), cell: (n) => <Ago at={n.seen} />, sort: (n) => n.seen },
          {
            key: 'revision',
            label: w('revision'),
            cell: (n) => (n.revision === undefined ? <span class="muted">–</span> : <span class="row tight">{n.revision} <Badge tone={n.current ? 'ok' : 'warn'}>{w(n.current ? 'newest' : 'older')}</Badge></span>),
            sort: (n) => n.revision,
          },
          { key: 'notes', label: w('notes'), cell: (n) => (n.notes?.length ? <ul>{n.notes.map((t) => <li key={t}><Said text={t} /></li>)}</ul> : <span class="muted">–</span>), class: 'name' },
        ]}
      />
    </Card>
  )
}

function Queues({ queues }: { queues: System['queues'] }) {
  return (
    <Card flush title={w('queues')}>
      <Table
        label={w('queues')}
        param="qsort"
        rows={queues}
        rowKey={(q) => `${q.role}/${q.node ?? ''}/${q.name}`}
        empty={<Empty title={w('noQueues')} />}
        columns={[
          { key: 'queue', label: w('queue'), cell: (q) => <span title={q.detail && say(q.detail)}>{queueWord(q.name)}</span>, sort: (q) => q.name, class: 'name' },
          { key: 'role', label: w('role'), cell: (q) => roleWord(q.role), sort: (q) => q.role },
          { key: 'node', label: w('node'), cell: (q) => q.node ?? <span class="muted">{w('shared')}</span>, sort: (q) => q.node },
          { key: 'depth', label: w('depth'), cell: (q) => <Depth queue={q} />, sort: (q) => fullness(q) ?? q.depth / 1e12, end: true, class: 'whole' },
          { key: 'oldest', label: w('oldest'), cell: (q) => <Ago at={q.oldest} />, sort: (q) => q.oldest },
        ]}
      />
    </Card>
  )
}

/** queueWord and unitWord are the words for what waits; a newer part of Weir may have others. */
function queueWord(name: string): string {
  const key = `queue.${name}`
  return w.has(key) ? w(key) : say(name)
}

function unitWord(unit: string, n: number): string {
  const key = `unit.${unit}`
  return w.has(key) ? w(key, { n }) : unit
}

function Depth({ queue: q }: { queue: System['queues'][number] }) {
  const full = fullness(q)
  const amount = q.unit === 'bytes' ? format.bytes : format.count
  return (
    <span class="row tight">
      {full !== undefined && full >= 0.5 && <Badge tone={full >= 0.9 ? 'bad' : 'warn'}>{w('full', { p: format.percent(full * 100) })}</Badge>}
      <span>
        {amount(q.depth)}
        {q.limit !== undefined && ` / ${amount(q.limit)}`} {q.unit !== 'bytes' && unitWord(q.unit, q.limit ?? q.depth)}
      </span>
    </span>
  )
}

function Database({ db }: { db: System['database'] }) {
  return (
    <Card title={w('database')} actions={<Badge tone={db.ok ? 'ok' : 'bad'}>{w(db.ok ? 'answers' : 'doesNot')}</Badge>}>
      <Facts
        items={[
          [w('dbVersion'), db.version ?? '–'],
          [w('size'), format.bytes(db.bytes)],
          [w('connections'), db.maxConnections ? w('ofAllowed', { n: db.connections ?? 0, of: db.maxConnections }) : format.count(db.connections)],
        ]}
      />
    </Card>
  )
}

function Sdk({ system: s }: { system: System }) {
  const r = s.registry
  return (
    <Card title={w('sdk')}>
      <div class="stack">
        {s.sdk.length === 0 ? (
          <p class="muted">{w('noSDK')}</p>
        ) : (
          <Table
            label={w('sdk')}
            param="ssort"
            rows={s.sdk}
            rowKey={(v) => v.version}
            columns={[
              { key: 'version', label: w('sdkVersion'), cell: (v) => (v.version ? <code>{v.version}</code> : w('sdkUnknown')), sort: (v) => v.version },
              { key: 'instances', label: w('instances'), cell: (v) => format.count(v.instances), sort: (v) => v.instances, end: true },
            ]}
          />
        )}
        <Facts
          items={[
            [
              w('registry'),
              <span key="r" class="row tight">
                {r.open ? w('registryOpen', { n: r.apps }) : w('registryClosed', { why: say(r.unknown ?? '') })}
                {r.stale && <Badge tone="warn">{w('registryStale', { time: format.time(r.stale) })}</Badge>}
              </span>,
            ],
          ]}
        />
      </div>
    </Card>
  )
}

function Storage({ partitions }: { partitions: System['partitions'] }) {
  const address = useAddress()
  const open = address.get('parts')
  const tables = byTable(partitions)
  const shown = tables.find((t) => t.name === open)
  return (
    <Card flush title={w('storage')}>
      <Table
        label={w('storage')}
        param="tsort"
        rows={tables}
        rowKey={(t) => t.name}
        selected={(t) => t.name === open}
        columns={[
          { key: 'table', label: w('table'), cell: (t) => <code>{t.name}</code>, sort: (t) => t.name, class: 'name' },
          { key: 'size', label: w('size'), cell: (t) => format.bytes(t.bytes), sort: (t) => t.bytes, end: true },
          { key: 'rows', label: w('rows'), cell: (t) => format.count(t.rows), sort: (t) => t.rows, end: true },
          { key: 'from', label: w('from'), cell: (t) => <Time at={t.from} />, sort: (t) => t.from },
          {
            key: 'parts',
            label: w('parts'),
            cell: (t) => <Parts table={t} open={t.name === open} toggle={() => address.set({ parts: t.name === open ? undefined : t.name, psort: undefined }, { replace: true })} />,
            sort: (t) => t.parts.length,
          },
        ]}
      />
      {shown && (
        <Table
          label={`${w('parts')} ${shown.name}`}
          param="psort"
          order="-from"
          rows={shown.parts}
          rowKey={(p) => p.name}
          columns={[
            { key: 'name', label: shown.name, cell: (p) => <code>{p.name}</code>, sort: (p) => p.name, class: 'name' },
            { key: 'from', label: w('from'), cell: (p) => <Time at={p.from} />, sort: (p) => p.from },
            { key: 'to', label: w('to'), cell: (p) => <Time at={p.to} />, sort: (p) => p.to },
            { key: 'size', label: w('size'), cell: (p) => format.bytes(p.bytes), sort: (p) => p.bytes, end: true },
            { key: 'rows', label: w('rows'), cell: (p) => format.count(Math.max(0, p.rows)), sort: (p) => p.rows, end: true },
          ]}
        />
      )}
    </Card>
  )
}

function Parts({ table: t, open, toggle }: { table: TableSum; open: boolean; toggle: () => void }) {
  if (t.parts.length === 1 && !t.from) return <span class="muted">{w('whole')}</span>
  return (
    <Button small kind="plain" aria-expanded={open} onClick={toggle} icon={open ? 'up' : 'down'} title={w(open ? 'hideParts' : 'showParts')}>
      {format.count(t.parts.length)}
    </Button>
  )
}
