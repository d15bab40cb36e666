// Where the nodes of the graph stand and how its edges run. It takes long for many
// nodes, so it is done beside the page, in a worker.
import { Graph, layout } from '@dagrejs/dagre'
import { layered } from './layered'
import { nodeSize, type Layout, type LayoutInput, type Point } from './places'

/** Size of the label of an edge. */
const labelSize = { width: 104, height: 30 }
/** With more edges than this, labels get no place of their own: the graph would be four times as wide. */
const labelled = 80
const gap = 24

/** arrange finds a place for everything: callers left of what they call; those that nobody calls and that call nobody stand below. */
export function arrange(input: LayoutInput): Layout {
  const touched = new Set(input.edges.flatMap((e) => [e.from, e.to]))
  const joined = input.nodes.filter((n) => touched.has(n)).sort()
  const alone = input.nodes.filter((n) => !touched.has(n)).sort()
  const out: Layout = { width: 0, height: 0, nodes: {}, edges: {} }
  if (joined.length > 0) (tangled(joined.length, input.edges.length) ? arrangeRing : arrangeJoined)(joined, input.edges, out)
  arrangeAlone(alone, out)
  return out
}

/** Few nodes of which each calls most others have no order from left to right: a circle shows them better. */
function tangled(nodes: number, edges: number): boolean {
  return nodes >= 5 && nodes <= 24 && edges > nodes * 2.5
}

function arrangeRing(nodes: string[], edges: LayoutInput['edges'], out: Layout) {
  const around = nodes.map((_, i) => ((i + 0.5) / nodes.length) * 2 * Math.PI - Math.PI / 2)
  const place = (ry: number) => around.map((a) => ({ x: ry * aspect * Math.cos(a), y: ry * Math.sin(a) }))
  const apart = (p: Point, q: Point) => Math.abs(p.x - q.x) >= nodeSize.width + gap || Math.abs(p.y - q.y) >= nodeSize.height + gap
  let ry = 180
  while (place(ry).some((p, i, all) => all.some((q, j) => j > i && !apart(p, q)))) ry += 20
  const middleOf = { x: 8 + nodeSize.width / 2 + ry * aspect, y: 8 + nodeSize.height / 2 + ry }
  place(ry).forEach((p, i) => (out.nodes[nodes[i]!] = { x: middleOf.x + p.x, y: middleOf.y + p.y }))
  out.width = 2 * middleOf.x
  out.height = 2 * middleOf.y
  out.dense = true
  for (const e of edges) {
    const [a, b] = [out.nodes[e.from]!, out.nodes[e.to]!]
    // Bent to its own side, so that calls there and calls back are two lines.
    const bend = { x: (a.x + b.x) / 2 - (b.y - a.y) * 0.12, y: (a.y + b.y) / 2 + (b.x - a.x) * 0.12 }
    const points = [border(a, bend), bend, border(b, bend)]
    const [t, u] = [0.35, 0.65]
    const on = (v: 'x' | 'y') => u * u * points[0]![v] + 2 * t * u * bend[v] + t * t * points[2]![v]
    out.edges[e.id] = { points, label: { x: on('x'), y: on('y') } }
  }
}

/** border is where a line from the middle of a node to a point leaves the node. */
function border(node: Point, to: Point): Point {
  const [dx, dy] = [to.x - node.x, to.y - node.y]
  const t = Math.min(1, nodeSize.width / 2 / Math.max(Math.abs(dx), 1e-9), nodeSize.height / 2 / Math.max(Math.abs(dy), 1e-9))
  return { x: node.x + dx * t, y: node.y + dy * t }
}

/** A screen's size, by which it is judged how well a drawing fits. */
const screen = { width: 1000, height: 560 }

/** arrangeJoined draws from left to right, unless from top to bottom the whole is much easier to read, as long chains are. */
function arrangeJoined(nodes: string[], edges: LayoutInput['edges'], out: Layout) {
  if (edges.length > labelled) return foldRanks(layered(nodes, edges), edges, out)
  const [across, down] = (['LR', 'TB'] as const).map((rankdir) => {
    const drawn: Layout = { width: 0, height: 0, nodes: {}, edges: {} }
    ranked(nodes, edges, rankdir, drawn)
    return drawn
  }) as [Layout, Layout]
  const scale = (l: Layout) => Math.min(1, screen.width / l.width, screen.height / l.height)
  Object.assign(out, scale(down) > 1.3 * scale(across) ? down : across)
}

function ranked(nodes: string[], edges: LayoutInput['edges'], rankdir: 'LR' | 'TB', out: Layout) {
  const g = new Graph({ directed: true, multigraph: false, compound: false })
  g.setGraph({ rankdir, nodesep: gap, edgesep: 10, ranksep: 40, marginx: 8, marginy: 8, ranker: 'network-simplex' })
  g.setDefaultEdgeLabel(() => ({}))
  for (const n of nodes) g.setNode(n, { ...nodeSize })
  for (const e of [...edges].sort((a, b) => (a.id < b.id ? -1 : 1))) g.setEdge(e.from, e.to, { ...labelSize, labelpos: 'c' })
  layout(g)
  for (const n of nodes) {
    const { x, y } = g.node(n) as Point
    out.nodes[n] = { x, y }
    out.width = Math.max(out.width, x + nodeSize.width / 2 + 8)
    out.height = Math.max(out.height, y + nodeSize.height / 2 + 8)
  }
  for (const e of edges) {
    const found = g.edge(e.from, e.to) as { points: Point[]; x?: number; y?: number }
    const points = found.points.map(({ x, y }) => ({ x, y }))
    out.edges[e.id] = { points, label: found.x !== undefined && found.y !== undefined ? { x: found.x, y: found.y } : middle(points) }
    for (const p of points) {
      out.width = Math.max(out.width, p.x + 8)
      out.height = Math.max(out.height, p.y + 8)
    }
  }
}

/** Width of a plane by its height that suits a screen. */
const aspect = 1.8

/**
 * foldRanks lays each rank of a large graph into as many columns as it takes for
 * the whole to have a screen's form.
 */
function foldRanks(ranks: string[][], edges: LayoutInput['edges'], out: Layout) {
  out.dense = true
  const columns = (rows: number) => ranks.reduce((sum, r) => sum + Math.ceil(r.length / rows), 0)
  const [w, h] = [nodeSize.width + 64, nodeSize.height + 14]
  let rows = 1
  const off = (r: number) => Math.abs(Math.log((columns(r) * w) / (r * h) / aspect))
  const longest = Math.max(...ranks.map((r) => r.length))
  for (let r = 2; r <= longest; r++) if (off(r) < off(rows)) rows = r
  // A chain that is still too long goes on below itself, as lines of a text do.
  const total = columns(rows)
  const bandHeight = rows * h + gap
  const bands = Math.max(1, Math.round(Math.sqrt((total * w) / bandHeight / aspect)))
  const perBand = Math.ceil(total / bands)
  let column = 0
  for (const rank of ranks) {
    const parts = Math.ceil(rank.length / rows)
    const each = Math.ceil(rank.length / parts)
    rank.forEach((n, i) => {
      const inColumn = Math.min(each, rank.length - Math.floor(i / each) * each)
      const at = column + Math.floor(i / each)
      out.nodes[n] = {
        x: 8 + nodeSize.width / 2 + (at % perBand) * w,
        y: 8 + nodeSize.height / 2 + Math.floor(at / perBand) * bandHeight + ((i % each) + (rows - inColumn) / 2) * h,
      }
    })
    column += parts
  }
  out.width = Math.min(column, perBand) * w - 64 + 16
  out.height = Math.ceil(column / perBand) * bandHeight - gap - 14 + 16
  for (const e of edges) {
    const [a, b] = [out.nodes[e.from]!, out.nodes[e.to]!]
    const points = [
      { x: a.x + nodeSize.width / 2, y: a.y },
      { x: a.x + nodeSize.width / 2 + 30, y: a.y },
      { x: b.x - nodeSize.width / 2 - 30, y: b.y },
      { x: b.x - nodeSize.width / 2, y: b.y },
    ]
    out.edges[e.id] = { points, label: middle(points) }
  }
}

function arrangeAlone(nodes: string[], out: Layout) {
  if (nodes.length === 0) return
  const [w, h] = [nodeSize.width + gap, nodeSize.height + gap]
  const columns = Math.max(1, Math.floor(out.width / w), Math.ceil(Math.sqrt((nodes.length * h * aspect) / w)))
  const top = out.height > 0 ? out.height + gap : 8
  nodes.forEach((n, i) => {
    const p = { x: 8 + (i % columns) * w + nodeSize.width / 2, y: top + Math.floor(i / columns) * h + nodeSize.height / 2 }
    out.nodes[n] = p
    out.width = Math.max(out.width, p.x + nodeSize.width / 2 + 8)
    out.height = Math.max(out.height, p.y + nodeSize.height / 2 + 8)
  })
}

/** middle is the point half-way along a line. */
export function middle(points: readonly Point[]): Point {
  const lengths = points.slice(1).map((p, i) => Math.hypot(p.x - points[i]!.x, p.y - points[i]!.y))
  let left = lengths.reduce((a, b) => a + b, 0) / 2
  for (let i = 0; i < lengths.length; i++) {
    const [a, b, l] = [points[i]!, points[i + 1]!, lengths[i]!]
    if (left <= l && l > 0) return { x: a.x + ((b.x - a.x) * left) / l, y: a.y + ((b.y - a.y) * left) / l }
    left -= l
  }
  return points[points.length - 1] ?? { x: 0, y: 0 }
}
