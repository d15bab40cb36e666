// Topology: who calls whom, how much, and how that goes.
import { useCallback, useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { since, useAddress } from '~/app/address'
import { useRange } from '~/app/range'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { Button, Card, Notice } from '~/ui/basic'
import { States } from '~/ui/circuit'
import { rankOf } from '~/ui/condition'
import { ConditionBadge } from '~/ui/conditionbadge'
import { Field, ParamInput } from '~/ui/field'
import { useMedia } from '~/ui/media'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { chosen, graphOf, type Edge, type Graph, type Topology as Answer } from './model'
import { byNamespace, groupingOf, type Grouping } from './namespaces'
import { AppPanel, EdgePanel, PartsPanel } from './panel'
import { Plane } from './plane'
import type { Chosen } from './scene'
import './topology.css'
import { words as w } from './words'

export default function Topology() {
  const range = useRange('15m')
  const query = useGet('/api/v1/topology', { query: since(range) }, { every: range.name ? 5000 : false })
  return (
    <Page
      title={w('title')}
      actions={
        <>
          <ViewPicker />
          <RangePicker range={range} />
        </>
      }
    >
      <Loaded
        query={query}
        isEmpty={(d) => d.nodes.length === 0}
        empty={
          <Card>
            <Empty title={w('none')} icon="topology">
              {w('noneHint')}
            </Empty>
          </Card>
        }
      >
        {(d) => (
          <>
            {d.cut && <Notice tone="warn">{shared('cut')}</Notice>}
            <Shown answer={d} range={range} />
          </>
        )}
      </Loaded>
    </Page>
  )
}

/** useView is the form in which the graph is shown: a phone has no room for it until it is asked for. */
function useView(): 'graph' | 'table' {
  const said = useAddress().get('view')
  const narrow = useMedia('(max-width: 860px)')
  return said === 'graph' || said === 'table' ? said : narrow ? 'table' : 'graph'
}

function ViewPicker() {
  const address = useAddress()
  const view = useView()
  return (
    <div class="segmented" role="group" aria-label={w('view')}>
      {(['graph', 'table'] as const).map((v) => (
        <Button key={v} aria-pressed={view === v} onClick={() => address.set({ view: v })}>
          {w(v)}
        </Button>
      ))}
    </div>
  )
}

function Shown({ answer, range }: { answer: Answer; range: ReturnType<typeof useRange> }) {
  const address = useAddress()
  const view = useView()
  const [app, edge, namespace] = [address.get('app'), address.get('edge'), address.get('ns')]
  const depth = Number(address.get('depth')) || undefined
  const hideIdle = address.get('idle') === 'hide'
  const whole = useMemo(() => graphOf(answer, range.seconds), [answer, range.seconds])
  const part = useMemo(() => chosen(whole, { namespace, around: app, depth, hideIdle }), [whole, namespace, app, depth, hideIdle])
  const grouping = groupingOf(address.get('group'), whole.nodes.length, { app, namespace })
  // The table has every edge, however many.
  const graph = useMemo(() => (grouping === 'ns' && view === 'graph' ? byNamespace(part, whole.nodes, namespace) : part), [part, whole, grouping, view, namespace])
  const namespaces = useMemo(() => [...new Set(whole.nodes.map((n) => n.namespace))].sort(), [whole])
  const selected = useMemo<Chosen>(() => ({ app, edge }), [app, edge])
  const { set } = address
  const choose = useCallback((c: Chosen) => set(c.namespace === undefined ? { app: c.app, edge: c.edge, depth: c.app === undefined ? undefined : depth } : { ns: c.namespace, app: undefined, edge: undefined, depth: undefined }), [set, depth])
  const close = () => choose({})
  const node = app === undefined ? undefined : whole.nodes.find((n) => n.id === app)
  const line = edge === undefined ? undefined : (whole.edges.find((e) => e.id === edge) ?? graph.edges.find((e) => e.id === edge))

  return (
    <>
      <Card>
        <div class="filters ofgraph">
          <ParamInput param="app" label={w('app')} placeholder={w('noApp')} options={whole.nodes.map((n) => n.id)} drop={['edge']} />
          <Field label={w('depth')}>
            {(f) => (
              <select {...f} class="select" disabled={app === undefined} value={depth ?? ''} onChange={(e) => set({ depth: e.currentTarget.value })}>
                <option value="">{w('depthAll')}</option>
                <option value="1">{w('depth1')}</option>
                <option value="2">{w('depth2')}</option>
              </select>
            )}
          </Field>
          <Field label={w('namespace')}>
            {(f) => (
              <select {...f} class="select" value={namespace ?? ''} onChange={(e) => set({ ns: e.currentTarget.value })}>
                <option value="">{w('allNamespaces')}</option>
                {namespaces.map((n) => (
                  <option key={n} value={n}>
                    {n}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <label class="check">
            <input type="checkbox" checked={hideIdle} onChange={(e) => set({ idle: e.currentTarget.checked ? 'hide' : undefined })} />
            {w('hideIdle')}
          </label>
          {view === 'graph' && namespaces.length > 1 && <GroupPicker grouping={grouping} />}
        </div>
      </Card>
      <div class={node || line || app || edge ? 'topology beside' : 'topology'}>
        <Card flush>
          {graph.nodes.length === 0 ? (
            <Empty title={w('noneChosen')} action={<Button onClick={() => set({ ns: undefined, app: undefined, depth: undefined, idle: undefined })}>{w('clear')}</Button>} />
          ) : view === 'table' ? (
            <Edges graph={graph} edge={edge} />
          ) : (
            <>
              <Plane graph={graph} chosen={selected} choose={choose} />
              <p class="legend">
                {legendOf(graph, grouping)}
              </p>
            </>
          )}
        </Card>
        {node && <AppPanel node={node} graph={whole} range={range} close={close} />}
        {line && (line.parts ? <PartsPanel key={line.id} edge={line} close={close} /> : <EdgePanel edge={line} range={range} close={close} />)}
        {!node && !line && (app !== undefined || edge !== undefined) && (
          <aside class="panel">
            <Card title={app ?? edge}>
              <p class="muted">{w('gone')}</p>
            </Card>
          </aside>
        )}
      </div>
    </>
  )
}

/** legendOf says how much there is to see, and how to read it. */
function legendOf(graph: Graph, grouping: Grouping): string {
  const e = graph.edges.length
  const a = graph.nodes.filter((n) => !n.apps).length
  const n = new Set(graph.nodes.filter((x) => x.apps).map((x) => x.namespace)).size
  const shown = grouping !== 'ns' ? w('shown', { n: a, e }) : a === 0 ? w('shownNamespaces', { n, e }) : w('shownParts', { a, n, e })
  return e === 0 ? `${shown} · ${w('noCalls')} ${w('noneHint')}` : `${shown} · ${w(grouping === 'ns' ? 'legendParts' : 'legend')}`
}

/** GroupPicker chooses whether namespaces are drawn, or each application. */
function GroupPicker({ grouping }: { grouping: Grouping }) {
  const { set } = useAddress()
  return (
    <div class="segmented grouping" role="group" aria-label={w('grouping')}>
      <Button aria-pressed={grouping === 'ns'} onClick={() => set({ group: 'ns', app: undefined, edge: undefined, depth: undefined })}>
        {w('byNamespace')}
      </Button>
      <Button aria-pressed={grouping === 'app'} onClick={() => set({ group: 'app' })}>
        {w('byApp')}
      </Button>
    </div>
  )
}

/** Edges is what the graph shows, as a table, each edge of its own. */
function Edges({ graph, edge }: { graph: Graph; edge: string | undefined }) {
  const address = useAddress()
  const columns: Column<Edge>[] = [
    { key: 'from', label: w('from'), cell: (e) => <Link href={address.with({ app: e.from, edge: undefined })}>{e.from}</Link>, sort: (e) => e.from, class: 'name' },
    { key: 'to', label: w('to'), cell: (e) => <Link href={address.with({ app: e.to, edge: undefined })}>{e.to}</Link>, sort: (e) => e.to, class: 'name' },
    { key: 'state', label: w('state'), cell: (e) => <ConditionBadge condition={e.condition} />, sort: (e) => rankOf(e.condition) },
    { key: 'rate', label: w('rate'), cell: (e) => format.rate(e.figures.rate), sort: (e) => e.figures.rate, end: true },
    { key: 'errors', label: w('errors'), cell: (e) => format.percent(e.figures.errorPercent), sort: (e) => e.figures.errorPercent, end: true },
    { key: 'refused', label: w('refused'), cell: (e) => format.percent(e.figures.refusedPercent), sort: (e) => e.figures.refusedPercent, end: true },
    { key: 'slow', label: w('slow'), cell: (e) => format.percent(e.figures.slowPercent), sort: (e) => e.figures.slowPercent, end: true },
    { key: 'p50', label: w('p50'), cell: (e) => format.ms(e.figures.p50Ms), sort: (e) => e.figures.p50Ms, end: true },
    { key: 'p99', label: w('p99'), cell: (e) => format.ms(e.figures.p99Ms), sort: (e) => e.figures.p99Ms, end: true },
    { key: 'circuits', label: w('circuits'), cell: (e) => <States states={e.figures.states} /> },
    { key: 'more', label: '', text: '', cell: (e) => <Link href={address.with({ edge: e.id, app: undefined })}>{w('select')}</Link> },
  ]
  return <Table label={w('edgesLabel')} columns={columns} rows={graph.edges} rowKey={(e) => e.id} order="state" selected={(e) => e.id === edge} empty={<Empty title={w('none')}>{w('noneHint')}</Empty>} />
}
