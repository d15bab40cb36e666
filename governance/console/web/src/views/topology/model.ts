// The graph of applications: what is in it, what of it is shown, and how thick,
// how urgent and how equal its parts are. Where they stand is in layout.ts.
import type { Schemas } from '~/api/client'
import type { AppHealth } from '~/live/store'
import { callsCondition, calm, conditionOf, rankOf, type Condition } from '~/ui/condition'

export type Topology = Schemas['TopologyOutBody']
export type EdgeFigures = Schemas['GovernanceApiEdge']

export interface Node {
  id: string
  namespace: string
  name: string
  health: AppHealth
  condition: Condition
  /** Of a namespace: its applications. */
  apps?: Node[]
}

export interface Edge {
  id: string
  from: string
  to: string
  figures: EdgeFigures
  condition: Condition
  /** Of calls between namespaces: those between their applications. */
  parts?: Edge[]
}

export interface Graph {
  nodes: Node[]
  edges: Edge[]
}

/** edgeId names an edge in the address. */
export function edgeId(from: string, to: string): string {
  return `${from}>${to}`
}

/** graphOf makes a graph of an answer about so many seconds. */
export function graphOf(t: Topology, seconds: number): Graph {
  return {
    nodes: t.nodes.map((health) => {
      const i = health.app.indexOf('/')
      return { id: health.app, namespace: health.app.slice(0, i), name: health.app.slice(i + 1), health, condition: conditionOf(health, seconds) }
    }),
    edges: t.edges.map((figures) => ({ id: edgeId(figures.from, figures.to), from: figures.from, to: figures.to, figures, condition: callsCondition(figures) })),
  }
}

export interface Wish {
  namespace?: string
  /** The application around which one looks, and how many calls away. */
  around?: string
  depth?: number
  /** Leave out what nobody calls. */
  hideIdle?: boolean
}

/** chosen is the part of a graph that is wished for. */
export function chosen(g: Graph, wish: Wish): Graph {
  let { nodes, edges } = g
  if (wish.namespace) {
    const inside = new Set(nodes.filter((n) => n.namespace === wish.namespace).map((n) => n.id))
    edges = edges.filter((e) => inside.has(e.from) || inside.has(e.to))
    const touched = ends(edges)
    nodes = nodes.filter((n) => inside.has(n.id) || touched.has(n.id))
  }
  if (wish.around && wish.depth) {
    const near = neighbourhood(edges, wish.around, wish.depth)
    nodes = nodes.filter((n) => near.has(n.id))
    edges = edges.filter((e) => near.has(e.from) && near.has(e.to))
  }
  if (wish.hideIdle) {
    edges = edges.filter((e) => e.figures.calls > 0 || !calm(e.condition))
    const touched = ends(edges)
    nodes = nodes.filter((n) => touched.has(n.id) || n.id === wish.around || n.health.rate > 0 || !calm(n.condition))
  }
  return { nodes, edges }
}

function ends(edges: readonly Edge[]): Set<string> {
  return new Set(edges.flatMap((e) => [e.from, e.to]))
}

/** neighbourhood is what is at most so many calls away from an application, in either direction. */
export function neighbourhood(edges: readonly Edge[], around: string, depth: number): Set<string> {
  const near = new Set([around])
  for (let i = 0; i < depth; i++) {
    const reached = edges.filter((e) => near.has(e.from) !== near.has(e.to)).flatMap((e) => [e.from, e.to])
    if (reached.length === 0) break
    for (const id of reached) near.add(id)
  }
  return near
}

/** mattering are the nodes that are to be seen first: what is chosen, or else the worst. */
export function mattering(g: Graph, chosen: { app?: string; edge?: string }): string[] {
  const at = chosen.app ?? g.edges.find((e) => e.id === chosen.edge)?.from
  if (at !== undefined && g.nodes.some((n) => n.id === at)) return [at]
  const worst = Math.min(...g.nodes.map((n) => rankOf(n.condition)))
  return g.nodes.filter((n) => rankOf(n.condition) === worst).map((n) => n.id)
}

/** shapeOf is equal for graphs that have the same nodes and edges: those stand where they stood. */
export function shapeOf(g: Graph): string {
  return JSON.stringify([g.nodes.map((n) => n.id).sort(), g.edges.map((e) => e.id).sort()])
}

/** widthOf is how thick an edge is drawn: by the logarithm, since rates differ by thousands. */
export function widthOf(rate: number, highest: number): number {
  if (rate <= 0 || highest <= 0) return 1
  return 1.25 + 4.75 * (Math.log1p(rate) / Math.log1p(Math.max(rate, highest)))
}

/** dashOf is the second sign, beside the colour, of how calls are. */
export function dashOf(c: Condition): string | undefined {
  switch (c) {
    case 'open':
      return '2 5'
    case 'forced':
      return '10 4 2 4'
    case 'halfOpen':
      return '7 5'
    case 'idle':
      return '1 6'
    default:
      return undefined
  }
}

/** touching are the edges that begin or end at an application. */
export function touching(g: Graph, id: string): { calls: Edge[]; callers: Edge[] } {
  const byRate = (a: Edge, b: Edge) => b.figures.rate - a.figures.rate || a.id.localeCompare(b.id)
  return { calls: g.edges.filter((e) => e.from === id).sort(byRate), callers: g.edges.filter((e) => e.to === id).sort(byRate) }
}
