// What is known of the chosen application, or of the calls from one to another,
// and the ways on from there.
import type { ComponentChildren } from 'preact'
import { Link } from 'wouter-preact'
import { appPath, link, rangeQuery, useAddress, useOpened, type Patch, type Range } from '~/app/address'
import { words as common } from '~/app/words'
import * as format from '~/i18n/format'
import { Button, Card, Facts } from '~/ui/basic'
import { States } from '~/ui/circuit'
import { ConditionBadge } from '~/ui/conditionbadge'
import { worstFirst } from './namespaces'
import { touching, type Edge, type Graph, type Node } from './model'
import { words as w } from './words'

/** stays is a range as another view's address takes it. */
function stays(r: Range): Patch {
  if (r.name) return { range: r.name }
  const q = rangeQuery(r)
  return { from: q.from, to: q.to }
}

function Frame({ title, close, children }: { title: ComponentChildren; close: () => void; children: ComponentChildren }) {
  return (
    <aside class="panel">
      <Card title={title} actions={<Button small kind="plain" icon="close" label={w('close')} onClick={close} />}>
        <div class="stack">{children}</div>
      </Card>
    </aside>
  )
}

function Ways({ ways }: { ways: [to: string, text: string][] }) {
  return (
    <ul class="ways">
      {ways.map(([to, text]) => (
        <li key={text}>
          <Link href={to}>{text}</Link>
        </li>
      ))}
    </ul>
  )
}

export function AppPanel({ node, graph, range, close }: { node: Node; graph: Graph; range: Range; close: () => void }) {
  const h = node.health
  const { calls, callers } = touching(graph, node.id)
  const unseen = h.side === 'unseen'
  return (
    <Frame title={<Link href={appPath(node.id, stays(range))}>{node.id}</Link>} close={close}>
      <div>
        <ConditionBadge condition={node.condition} />
      </div>
      {unseen && <p class="muted">{w('unseen')}</p>}
      {h.side === 'caller' && <p class="muted">{w('selfSide')}</p>}
      {!unseen && (
        <Facts
          items={[
            [w('rate'), format.rate(h.rate)],
            [w('errors'), format.percent(h.errorPercent)],
            [w('refused'), format.percent(h.refusedPercent)],
            [w('slow'), format.percent(h.slowPercent)],
            [w('p50'), format.ms(h.p50Ms)],
            [w('p99'), format.ms(h.p99Ms)],
            [w('inFlight'), format.count(h.inFlight)],
            range.name !== undefined && [w('instances'), format.count(h.live)],
          ]}
        />
      )}
      <Ends title={w('callers')} edges={callers} end="from" />
      <Ends title={w('calls')} edges={calls} end="to" />
      <Ways
        ways={[
          [appPath(node.id, stays(range)), w('toApp')],
          [link('/traces', { app: node.id, ...stays(range) }), w('traces')],
          [link('/traces', { app: node.id, error: true, ...stays(range) }), w('errorTraces')],
          [link('/switches', { app: node.id }), w('pull')],
          [appPath(node.id, { tab: 'explain' }), w('explain')],
          [`/registry/${node.id.split('/').map(encodeURIComponent).join('/')}`, w('registry')],
        ]}
      />
    </Frame>
  )
}

function Ends({ title, edges, end }: { title: string; edges: Edge[]; end: 'from' | 'to' }) {
  const address = useAddress()
  return (
    <section>
      <h3>{title}</h3>
      {edges.length === 0 && <p class="muted">{w('nobody')}</p>}
      <ul class="ends">
        {edges.map((e) => (
          <li key={e.id}>
            <Link href={address.with({ edge: e.id, app: undefined })}>{e[end]}</Link>
            <span class="num">
              {format.rate(e.figures.rate)} · {format.percent(e.figures.errorPercent)}
            </span>
            {e.condition !== 'ok' && <ConditionBadge condition={e.condition} />}
          </li>
        ))}
      </ul>
    </section>
  )
}

export function EdgePanel({ edge, range, close }: { edge: Edge; range: Range; close: () => void }) {
  const address = useAddress()
  const f = edge.figures
  const between = { app: edge.from, peer: edge.to, ...stays(range) }
  return (
    <Frame
      title={
        <>
          <Link href={address.with({ app: edge.from, edge: undefined })}>{edge.from}</Link> → <Link href={address.with({ app: edge.to, edge: undefined })}>{edge.to}</Link>
        </>
      }
      close={close}
    >
      <div>
        <ConditionBadge condition={edge.condition} />
      </div>
      <Facts
        items={[
          [w('rate'), format.rate(f.rate)],
          [w('errors'), format.percent(f.errorPercent)],
          [w('refused'), format.percent(f.refusedPercent)],
          [w('slow'), format.percent(f.slowPercent)],
          [w('p50'), format.ms(f.p50Ms)],
          [w('p99'), format.ms(f.p99Ms)],
          [w('commands'), format.count(f.commands)],
          [w('circuits'), <States states={f.states} />],
        ]}
      />
      <Ways
        ways={[
          [link('/traces', between), w('tracesBetween')],
          [link('/traces', { ...between, error: true }), w('errorTraces')],
          [appPath(edge.from, { q: edge.to, ...stays(range) }), w('toCaller')],
          [appPath(edge.to, stays(range)), w('toProvider')],
          [link('/switches', { app: edge.to, at: 'caller', from: edge.from }), w('pull')],
          [appPath(edge.from, { tab: 'explain' }), w('explain')],
        ]}
      />
    </Frame>
  )
}

const firstParts = 12

/** PartsPanel is what stands behind one edge of a namespace, the worst first. */
export function PartsPanel({ edge, close }: { edge: Edge; close: () => void }) {
  const address = useAddress()
  const [whole, turn] = useOpened('open', 'parts')
  const f = edge.figures
  const parts = worstFirst(edge.parts ?? [])
  const named = (id: string) => id.replace(/\/<?$/, '')
  return (
    <Frame title={`${named(edge.from)} → ${named(edge.to)}`} close={close}>
      <div>
        <ConditionBadge condition={edge.condition} />
      </div>
      <Facts
        items={[
          [w('rate'), format.rate(f.rate)],
          [w('errors'), format.percent(f.errorPercent)],
          [w('refused'), format.percent(f.refusedPercent)],
          [w('slow'), format.percent(f.slowPercent)],
          [w('commands'), format.count(f.commands)],
          [w('circuits'), <States states={f.states} />],
        ]}
      />
      <section>
        <h3>{w('edges')}</h3>
        <ul class="ends">
          {(whole ? parts : parts.slice(0, firstParts)).map((e) => (
            <li key={e.id}>
              <Link href={address.with({ edge: e.id, app: undefined })}>
                {e.from} → {e.to}
              </Link>
              <span class="num">
                {format.rate(e.figures.rate)} · {format.percent(e.figures.errorPercent)}
              </span>
              {e.condition !== 'ok' && <ConditionBadge condition={e.condition} />}
            </li>
          ))}
        </ul>
        {parts.length > firstParts && !whole && (
          <Button small onClick={turn}>
            {common('more', { n: parts.length - firstParts })}
          </Button>
        )}
      </section>
    </Frame>
  )
}
