// Namespaces in the place of their applications: hundreds of nodes are no picture,
// ten are. What stands for many adds what adds up, weighs shares by the calls they
// are of, and is as bad as the worst of them; a percentile of many cannot be had
// from theirs, so it has none.
import { calm, rankOf, type Condition } from '~/ui/condition'
import type { Edge, EdgeFigures, Graph, Node } from './model'
import { edgeId } from './model'

/** More applications than this are shown by their namespaces unless asked for. */
export const most = 60

export type Grouping = 'ns' | 'app'

/** groupingOf is how a graph is drawn: as the address says, or else as its size and what is chosen suggest. */
export function groupingOf(said: string | undefined, apps: number, chosen: { app?: string; namespace?: string }): Grouping {
  // Around one application, it and not its namespace is looked at.
  if (chosen.app !== undefined && chosen.namespace === undefined) return 'app'
  if (said === 'ns' || said === 'app') return said
  return apps > most ? 'ns' : 'app'
}

/** namespaceId names the node of a namespace, or the one that stands for what of it calls an open one; no application has such a name. */
export function namespaceId(namespace: string, calling = false): string {
  return `${namespace}/${calling ? '<' : ''}`
}

/** namespaceOf is the namespace that a node's name begins with. */
export function namespaceOf(id: string): string {
  return id.slice(0, id.indexOf('/'))
}

/**
 * byNamespace draws one node for each namespace but the one that is open, whose
 * applications stay: of those around it there is one for what calls it and one
 * for what it calls, since most do both and no order could be seen. They are as all of their applications are, also
 * where only some of those are in the graph.
 */
export function byNamespace(g: Graph, all: readonly Node[], open?: string): Graph {
  const shown = new Map(g.nodes.map((n) => [n.id, n]))
  const kept = g.nodes.filter((n) => n.namespace === open)
  const end = (id: string, calling: boolean) => {
    const n = shown.get(id)
    return n === undefined || n.namespace === open ? id : namespaceId(n.namespace, calling && open !== undefined)
  }
  const outside = g.nodes.filter((n) => n.namespace !== open)
  const wanted = new Set(open === undefined ? outside.map((n) => namespaceId(n.namespace)) : g.edges.flatMap((e) => [end(e.from, true), end(e.to, false)]).filter((id) => !shown.has(id)))
  const nodes = [...wanted].sort().map((id) => namespaceNode(id, all.filter((n) => n.namespace === namespaceOf(id))))
  const between = new Map<string, Edge[]>()
  for (const e of g.edges) {
    const [from, to] = [end(e.from, true), end(e.to, false)]
    // What a namespace calls of itself is inside of its node.
    if (from !== to || !from.endsWith('/')) between.set(edgeId(from, to), [...(between.get(edgeId(from, to)) ?? []), e])
  }
  const edges = [...between.values()].map((parts) => {
    const [from, to] = [end(parts[0]!.from, true), end(parts[0]!.to, false)]
    return from === parts[0]!.from && to === parts[0]!.to ? parts[0]! : mergedEdge(from, to, parts)
  })
  return { nodes: [...kept, ...nodes], edges }
}

function namespaceNode(id: string, apps: Node[]): Node {
  const namespace = namespaceOf(id)
  const sum = (of: (h: Node['health']) => number) => apps.reduce((s, n) => s + of(n.health), 0)
  const ran = (h: Node['health']) => h.rate * (1 - h.refusedPercent / 100)
  const share = (of: (h: Node['health']) => number, calls: (h: Node['health']) => number) => weighed(apps.map((n) => [of(n.health), calls(n.health)]))
  return {
    id,
    namespace,
    name: namespace,
    apps,
    condition: worst(apps),
    health: {
      app: id,
      side: apps.every((n) => n.health.side === 'unseen') ? 'unseen' : 'both',
      live: sum((h) => h.live),
      behind: sum((h) => h.behind),
      refusing: sum((h) => h.refusing),
      rate: sum((h) => h.rate),
      errorPercent: share((h) => h.errorPercent, ran),
      slowPercent: share((h) => h.slowPercent, ran),
      refusedPercent: share((h) => h.refusedPercent, (h) => h.rate),
      inFlight: sum((h) => h.inFlight),
      commands: sum((h) => h.commands),
      open: sum((h) => h.open),
      forced: sum((h) => h.forced),
    },
  }
}

function mergedEdge(from: string, to: string, parts: Edge[]): Edge {
  const sum = (of: (f: EdgeFigures) => number) => parts.reduce((s, e) => s + of(e.figures), 0)
  const ran = (f: EdgeFigures) => f.calls * (1 - f.refusedPercent / 100)
  const share = (of: (f: EdgeFigures) => number, calls: (f: EdgeFigures) => number) => weighed(parts.map((e) => [of(e.figures), calls(e.figures)]))
  const states: Record<string, number> = {}
  for (const e of parts) for (const [s, n] of Object.entries(e.figures.states)) states[s] = (states[s] ?? 0) + n
  return {
    id: edgeId(from, to),
    from,
    to,
    parts,
    condition: worst(parts),
    figures: {
      from,
      to,
      calls: sum((f) => f.calls),
      commands: sum((f) => f.commands),
      rate: sum((f) => f.rate),
      errorPercent: share((f) => f.errorPercent, ran),
      slowPercent: share((f) => f.slowPercent, ran),
      refusedPercent: share((f) => f.refusedPercent, (f) => f.calls),
      states,
    },
  }
}

/** weighed is the share of all, from shares and the calls that each is of. */
export function weighed(shares: readonly (readonly [percent: number, calls: number])[]): number {
  const calls = shares.reduce((s, [, n]) => s + n, 0)
  return calls > 0 ? shares.reduce((s, [percent, n]) => s + percent * n, 0) / calls : 0
}

function worst(parts: readonly { condition: Condition }[]): Condition {
  return parts.reduce<Condition>((w, p) => (rankOf(p.condition) < rankOf(w) ? p.condition : w), 'gone')
}

/** alarmingOf is how many applications of a namespace need a look. */
export function alarmingOf(n: Node): number {
  return (n.apps ?? []).filter((a) => !calm(a.condition)).length
}

/** holds reports whether an edge is one, or stands for it among others. */
export function holds(e: Edge, id: string | undefined): boolean {
  return id !== undefined && (e.id === id || (e.parts?.some((p) => p.id === id) ?? false))
}

/** worstFirst orders what stands behind an edge for reading. */
export function worstFirst(edges: readonly Edge[]): Edge[] {
  return [...edges].sort((a, b) => rankOf(a.condition) - rankOf(b.condition) || b.figures.rate - a.figures.rate || a.id.localeCompare(b.id))
}
