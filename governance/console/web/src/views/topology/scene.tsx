// The nodes and edges themselves. They are drawn anew when figures, places or the
// selection change, not when the plane is moved.
import { memo } from 'preact/compat'
import * as format from '~/i18n/format'
import { calm, conditionLook } from '~/ui/condition'
import { conditionWord } from '~/ui/conditionbadge'
import { Icon } from '~/ui/icons'
import { nodeSize, type Layout, type Point } from './layout'
import { dashOf, widthOf, type Edge, type Graph, type Node } from './model'
import { pathOf } from './viewport'
import { words as w } from './words'

export interface Chosen {
  app?: string
  edge?: string
}

const { width, height } = nodeSize
/** cut shortens what does not fit a node; its title has the whole. */
const cut = (text: string, most: number) => (text.length > most ? `${text.slice(0, most - 1)}…` : text)

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
  /** Whose labels are shown where nothing is chosen. */
  labels: 'all' | 'alarming' | 'none'
  choose: (c: Chosen) => void
  focused: (at: Point) => void
}

export const Scene = memo(function Scene({ graph, layout, chosen, labels, choose, focused }: SceneProps) {
  const highest = graph.edges.reduce((max, e) => Math.max(max, e.figures.rate), 0)
  const some = chosen.app !== undefined || chosen.edge !== undefined
  const near = (e: Edge) => e.id === chosen.edge || e.from === chosen.app || e.to === chosen.app
  const lit = new Set<string>(chosen.app === undefined ? [] : [chosen.app])
  if (some) for (const e of graph.edges) if (near(e)) lit.add(e.from).add(e.to)
  return (
    <>
      {graph.edges.map((e) => {
        const place = layout.edges[e.id]
        if (!place) return null
        return <EdgeLine key={e.id} edge={e} points={place.points} width={widthOf(e.figures.rate, highest)} dim={some && !near(e)} chosen={e.id === chosen.edge} choose={choose} />
      })}
      {graph.nodes.map((n) => {
        const at = layout.nodes[n.id]
        return at && <NodeBox key={n.id} node={n} at={at} dim={some && !lit.has(n.id)} chosen={n.id === chosen.app} choose={choose} focused={focused} />
      })}
      {graph.edges.map((e) => {
        const place = layout.edges[e.id]
        if (!place || !(some ? near(e) : labels === 'all' || (labels === 'alarming' && !calm(e.condition)))) return null
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

const EdgeLine = memo(function EdgeLine({ edge: e, points, width, dim, chosen, choose }: EdgeLineProps) {
  const { tone } = conditionLook[e.condition]
  const d = pathOf(points)
  return (
    <g class={`edge ${tone} ${dim ? 'dim' : ''} ${chosen ? 'chosen' : ''}`} onClick={() => choose({ edge: e.id })}>
      <title>{sayEdge(e)}</title>
      <path class="reach" d={d} />
      <path class="line" d={d} style={{ '--width': `${width.toFixed(1)}px` }} stroke-dasharray={dashOf(e.condition)} marker-end={`url(#head-${tone})`} />
    </g>
  )
})

function EdgeLabel({ edge: e, at }: { edge: Edge; at: Point }) {
  const { tone, icon } = conditionLook[e.condition]
  const f = e.figures
  return (
    <g class={`edgelabel ${tone}`} transform={`translate(${at.x.toFixed(1)} ${at.y.toFixed(1)})`} aria-hidden="true">
      <text y="-3">{`${format.rate(f.rate)} · ${format.percent(f.errorPercent)} · ${format.ms(f.p99Ms)}`}</text>
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
  dim: boolean
  chosen: boolean
  choose: (c: Chosen) => void
  focused: (at: Point) => void
}

const NodeBox = memo(function NodeBox({ node: n, at, dim, chosen, choose, focused }: NodeBoxProps) {
  const { tone, icon } = conditionLook[n.condition]
  const h = n.health
  const pick = () => choose({ app: n.id })
  return (
    <g
      class={`node ${tone} ${h.side === 'unseen' ? 'unseen' : ''} ${dim ? 'dim' : ''} ${chosen ? 'chosen' : ''}`}
      transform={`translate(${(at.x - width / 2).toFixed(1)} ${(at.y - height / 2).toFixed(1)})`}
      role="button"
      tabIndex={0}
      aria-pressed={chosen}
      onClick={pick}
      onFocus={() => focused(at)}
      onKeyDown={(e) => {
        if (e.key === 'Enter' || e.key === ' ') {
          e.preventDefault()
          pick()
        }
      }}
    >
      <rect class="box" width={width} height={height} rx="7">
        <title>{sayNode(n)}</title>
      </rect>
      <rect class="tone" width="5" height={height} rx="2.500" />
      <text class="ns" x="14" y="15">
        {cut(n.namespace, 16)}
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
      <text class="figures" x="14" y="49">{`${format.rate(h.rate)} · ${format.percent(h.errorPercent)} · ${format.ms(h.p99Ms)}`}</text>
    </g>
  )
})

export function sayNode(n: Node): string {
  return w('nodeLabel', { app: n.id, state: conditionWord(n.condition), rate: format.rate(n.health.rate), errors: format.percent(n.health.errorPercent), p99: format.ms(n.health.p99Ms) })
}

export function sayEdge(e: Edge): string {
  const f = e.figures
  return w('edgeLabel', { from: e.from, to: e.to, state: conditionWord(e.condition), rate: format.rate(f.rate), errors: format.percent(f.errorPercent), p99: format.ms(f.p99Ms) })
}
