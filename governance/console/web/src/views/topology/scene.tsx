// The nodes and edges themselves. They are drawn anew when figures, places or the
// selection change, not when the plane is moved.
import { memo } from 'preact/compat'
import * as format from '~/i18n/format'
import { calm, conditionLook } from '~/ui/condition'
import { conditionWord } from '~/ui/conditionbadge'
import { Icon } from '~/ui/icons'
import { nodeSize, type Layout, type Point } from './places'
import { alarmingOf, holds, worstFirst } from './namespaces'
import { dashOf, widthOf, type Edge, type Graph, type Node } from './model'
import { apart, pathOf, within, type Box } from './viewport'
import { words as w } from './words'

export interface Chosen {
  app?: string
  edge?: string
  /** A namespace that is to be opened. */
  namespace?: string
}

const { width, height } = nodeSize
/** cut shortens what does not fit a node; its title has the whole. */
const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)

/** Room that a label takes. */
const labelSize = { width: 92, height: 26 }
/** Labels in a graph whose lines cross everywhere. */
const mostOfDense = 12

const tones = ['ok', 'warn', 'bad', 'forced', 'info', 'idle'] as const

/** Arrows are the heads of edges, one for each tone. */
export function Arrows() {
  return (
    <defs>
      {tones.map((t) => (
        <marker key={t} id={`head-${t}`} viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse">
          <path d="M0 1L10 5L0 9z" class={`head ${t}`} />
        </marker>
      ))}
    </defs>
  )
}

interface SceneProps {
  graph: Graph
  layout: Layout
  chosen: Chosen
  /** What of the plane is to be drawn. */
  seen: Box
  /** Whether it is near enough for small text. */
  near: boolean
  /** Whose labels are shown where nothing is chosen. */
  labels: 'all' | 'alarming' | 'none'
  choose: (c: Chosen) => void
  focused: (at: Point) => void
}

export const Scene = memo(function Scene({ graph, layout, chosen, seen, near, labels, choose, focused }: SceneProps) {
  const highest = graph.edges.reduce((max, e) => Math.max(max, e.figures.rate), 0)
  // What is chosen and not here must not dim all that is.
  const some = (chosen.app !== undefined && graph.nodes.some((n) => n.id === chosen.app)) || graph.edges.some((e) => holds(e, chosen.edge))
  const touched = (e: Edge) => holds(e, chosen.edge) || e.from === chosen.app || e.to === chosen.app
  const lit = new Set<string>(chosen.app === undefined ? [] : [chosen.app])
  if (some) for (const e of graph.edges) if (touched(e)) lit.add(e.from).add(e.to)
  const wanted = some ? graph.edges.filter(touched) : labels === 'none' ? [] : labels === 'all' && !layout.dense ? graph.edges : graph.edges.filter((e) => !calm(e.condition))
  const told = new Set(apart(worstFirst(wanted), (e) => layout.edges[e.id]?.label, labelSize).slice(0, layout.dense && !some ? mostOfDense : undefined))
  return (
    <>
      {/* What is wrong lies above what is not. */}
      {worstFirst(graph.edges).reverse().map((e) => {
        const place = layout.edges[e.id]
        if (!place || !within(seen, place.points)) return null
        return <EdgeLine key={e.id} edge={e} points={place.points} width={widthOf(e.figures.rate, highest) * (layout.dense ? 0.6 : 1)} dim={some && !touched(e)} chosen={holds(e, chosen.edge)} choose={choose} />
      })}
      {graph.nodes.map((n) => {
        const at = layout.nodes[n.id]
        // What is out of sight can still be reached by keys.
        return at && <NodeBox key={n.id} node={n} at={at} text={!within(seen, [at], width, height) ? 'none' : near ? 'all' : 'name'} dim={some && !lit.has(n.id)} chosen={n.id === chosen.app} choose={choose} focused={focused} />
      })}
      {graph.edges.map((e) => {
        const place = layout.edges[e.id]
        if (!place || !told.has(e) || !within(seen, [place.label], width, height)) return null
        return <EdgeLabel key={e.id} edge={e} at={place.label} />
      })}
    </>
  )
})

interface EdgeLineProps {
  edge: Edge
  points: Point[]
  width: number
  dim: boolean
  chosen: boolean
  choose: (c: Chosen) => void
}

/** alike reports whether two edges are drawn alike; what they say is written when somebody asks. */
function alike(a: EdgeLineProps, b: EdgeLineProps): boolean {
  return a.edge.id === b.edge.id && a.edge.condition === b.edge.condition && a.points === b.points && Math.abs(a.width - b.width) < 0.1 && a.dim === b.dim && a.chosen === b.chosen && a.choose === b.choose
}

const EdgeLine = memo(function EdgeLine({ edge: e, points, width, dim, chosen, choose }: EdgeLineProps) {
  const { tone } = conditionLook[e.condition]
  const d = pathOf(points)
  return (
    <g class={`edge ${tone} ${dim ? 'dim' : ''} ${chosen ? 'chosen' : ''}`} data-edge={e.id} onClick={() => choose({ edge: e.id })}>
      <title />
      <path class="reach" d={d} />
      <path class="line" d={d} style={{ '--width': `${width.toFixed(1)}px` }} stroke-dasharray={dashOf(e.condition)} marker-end={`url(#head-${tone})`} />
    </g>
  )
}, alike)

function EdgeLabel({ edge: e, at }: { edge: Edge; at: Point }) {
  const { tone, icon } = conditionLook[e.condition]
  const f = e.figures
  return (
    <g class={`edgelabel ${tone}`} transform={`translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})`} aria-hidden="true">
      <text y="-3">{`${format.rate(f.rate)} · ${format.percent(f.errorPercent)}${e.parts ? '' : ` · ${format.ms(f.p99Ms)}`}`}</text>
      {!calm(e.condition) && (
        <>
          <g transform={`translate(${-6 - conditionWord(e.condition).length * 3 - 8} 3)`}>
            <Icon name={icon} size={11} />
          </g>
          <text y="12" class="word">
            {conditionWord(e.condition)}
          </text>
        </>
      )}
    </g>
  )
}

interface NodeBoxProps {
  node: Node
  at: Point
  text: 'all' | 'name' | 'none'
  dim: boolean
  chosen: boolean
  choose: (c: Chosen) => void
  focused: (at: Point) => void
}

const NodeBox = memo(function NodeBox({ node: n, at, text, dim, chosen, choose, focused }: NodeBoxProps) {
  const { tone, icon } = conditionLook[n.condition]
  const h = n.health
  const alarming = alarmingOf(n)
  const pick = () => choose(n.apps ? { namespace: n.namespace } : { app: n.id })
  return (
    <g
      class={`node ${tone} ${n.apps ? 'many' : ''} ${h.side === 'unseen' ? 'unseen' : ''} ${dim ? 'dim' : ''} ${chosen ? 'chosen' : ''}`}
      transform={`translate(${(at.x - width / 2).toFixed(1)} ${(at.y - height / 2).toFixed(1)})`}
      role={n.apps ? 'link' : 'button'}
      tabIndex={0}
      aria-pressed={n.apps ? undefined : chosen}
      onClick={pick}
      onFocus={() => focused(at)}
      onKeyDown={(e) => {
        if (e.key === 'Enter' || e.key === ' ') {
          e.preventDefault()
          pick()
        }
      }}
    >
      {n.apps && <rect class="box behind" x="5" y="-5" width={width} height={height} rx="7" />}
      <rect class="box" width={width} height={height} rx="7">
        <title>{sayNode(n)}</title>
      </rect>
      <rect class="tone" width="5" height={height} rx="2.500" />
      {text === 'name' && (
        <text class="name far" x="14" y={height / 2 + 9}>
          {cut(n.name, 12)}
        </text>
      )}
      {text === 'all' && (
        <>
          <text class="ns" x="14" y="15">
            {n.apps ? w('appsOf', { n: n.apps.length }) : cut(n.namespace, 16)}
          </text>
          <text class="word" x={width - 10} y="15" text-anchor="end">
            {conditionWord(n.condition)}
          </text>
          <g class="icon" transform="translate(13 21)">
            <Icon name={icon} size={12} />
          </g>
          <text class="name" x="29" y="32">
            {cut(n.name, 20)}
          </text>
          <text class="figures" x="14" y="49">{`${format.rate(h.rate)} · ${format.percent(h.errorPercent)}${n.apps ? '' : ` · ${format.ms(h.p99Ms)}`}`}</text>
          {alarming > 0 && (
            <text class="word" x={width - 10} y="49" text-anchor="end">
              {w('alarming', { n: alarming })}
            </text>
          )}
        </>
      )}
    </g>
  )
})

export function sayNode(n: Node): string {
  if (n.apps) return w('namespaceLabel', { namespace: n.namespace, n: n.apps.length, a: alarmingOf(n), state: conditionWord(n.condition), rate: format.rate(n.health.rate), errors: format.percent(n.health.errorPercent) })
  return w('nodeLabel', { app: n.id, state: conditionWord(n.condition), rate: format.rate(n.health.rate), errors: format.percent(n.health.errorPercent), p99: format.ms(n.health.p99Ms) })
}

export function sayEdge(e: Edge): string {
  const f = e.figures
  if (e.parts) return w('partsLabel', { from: e.from.replace(/\/<?$/, ''), to: e.to.replace(/\/<?$/, ''), n: e.parts.length, state: conditionWord(e.condition), rate: format.rate(f.rate), errors: format.percent(f.errorPercent) })
  return w('edgeLabel', { from: e.from, to: e.to, state: conditionWord(e.condition), rate: format.rate(f.rate), errors: format.percent(f.errorPercent), p99: format.ms(f.p99Ms) })
}
