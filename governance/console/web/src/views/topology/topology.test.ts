import { describe, expect, test } from 'vitest'
import { arrange, middle } from './layout'
import { nodeSize } from './places'
import { chosen, dashOf, graphOf, mattering, neighbourhood, shapeOf, touching, widthOf, type Graph, type Topology } from './model'
import { apart, fitted, moved, pathOf, revealed, seen, started, within, zoomed } from './viewport'

const node = (app: string, more = {}) => ({
  app, side: 'provider' as const, live: 1, behind: 0, refusing: 0, rate: 5, errorPercent: 0, refusedPercent: 0, slowPercent: 0, inFlight: 0, commands: 1, open: 0, forced: 0, ...more,
})
const edge = (from: string, to: string, more = {}) => ({ from, to, calls: 100, rate: 5, errorPercent: 0, refusedPercent: 0, slowPercent: 0, states: { closed: 1 }, commands: 1, ...more })
const answer = {
  from: '', to: '',
  nodes: [node('sys/gateway'), node('shop/front'), node('shop/orders'), node('shop/stock'), node('bank/ledger'), node('shop/alone', { rate: 0 }), node('shop/quiet', { rate: 0 })],
  edges: [edge('sys/gateway', 'shop/front', { rate: 50 }), edge('shop/front', 'shop/orders'), edge('shop/orders', 'shop/stock', { states: { open: 1 } }), edge('shop/orders', 'bank/ledger'), edge('shop/front', 'shop/quiet', { calls: 0, rate: 0 })],
} as unknown as Topology
const graph = graphOf(answer, 900)
const ids = (g: Graph) => g.nodes.map((n) => n.id)

describe('the graph', () => {
  test('knows how its parts are', () => {
    expect(graph.edges.map((e) => [e.id, e.condition])).toContainEqual(['shop/orders>shop/stock', 'open'])
    expect(graph.nodes.find((n) => n.id === 'shop/alone')?.condition).toBe('idle')
  })
  test('of a namespace, with those it speaks to', () => {
    expect(ids(chosen(graph, { namespace: 'bank' }))).toEqual(['shop/orders', 'bank/ledger'])
  })
  test('around an application', () => {
    expect(ids(chosen(graph, { around: 'shop/front', depth: 1 }))).toEqual(['sys/gateway', 'shop/front', 'shop/orders', 'shop/quiet'])
    expect([...neighbourhood(graph.edges, 'sys/gateway', 2)].sort()).toEqual(['shop/front', 'shop/orders', 'shop/quiet', 'sys/gateway'])
    expect(ids(chosen(graph, { around: 'shop/alone', depth: 2 }))).toEqual(['shop/alone'])
    expect(ids(chosen(graph, { around: 'shop/front' })).length).toBe(7) // without a depth: all
  })
  test('without what idles, except where one looks', () => {
    expect(ids(chosen(graph, { hideIdle: true }))).not.toContain('shop/alone')
    expect(ids(chosen(graph, { hideIdle: true }))).not.toContain('shop/quiet')
    expect(ids(chosen(graph, { hideIdle: true, around: 'shop/alone' }))).toContain('shop/alone')
    const forced = graphOf({ ...answer, edges: [edge('shop/front', 'shop/quiet', { calls: 0, rate: 0, states: { forcedOpen: 1 } })] } as unknown as Topology, 900)
    expect(chosen(forced, { hideIdle: true }).edges.length).toBe(1) // a switch is no idleness
  })
  test('has the same shape while only figures change', () => {
    const later = graphOf({ ...answer, nodes: [...answer.nodes].reverse(), edges: answer.edges.map((e) => ({ ...e, rate: e.rate + 1 })) }, 900)
    expect(shapeOf(later)).toBe(shapeOf(graph))
    expect(shapeOf(chosen(graph, { hideIdle: true }))).not.toBe(shapeOf(graph))
  })
  test('edges of an application, the busiest first', () => {
    const { calls, callers } = touching(graph, 'shop/front')
    expect(calls.map((e) => e.to)).toEqual(['shop/orders', 'shop/quiet'])
    expect(callers.map((e) => e.from)).toEqual(['sys/gateway'])
  })
  test('edges are the thicker the more is called, within bounds', () => {
    expect(widthOf(0, 100)).toBe(1)
    expect(widthOf(100, 100)).toBeCloseTo(6)
    expect(widthOf(200, 100)).toBeLessThanOrEqual(6) // of a moment in which another was the highest
    expect(widthOf(1, 100)).toBeGreaterThan(widthOf(0.1, 100))
  })
  test('each alarming state has a dash of its own', () => {
    const dashes = (['open', 'forced', 'halfOpen', 'idle'] as const).map(dashOf)
    expect(new Set(dashes).size).toBe(4)
    expect(dashOf('ok')).toBeUndefined()
  })
})

describe('places', () => {
  const input = { nodes: ids(graph), edges: graph.edges }
  const l = arrange(input)
  test('callers stand left of what they call, and nothing overlaps', () => {
    for (const e of graph.edges) expect(l.nodes[e.from]!.x).toBeLessThan(l.nodes[e.to]!.x)
    const all = Object.values(l.nodes)
    for (const a of all) {
      for (const b of all) {
        if (a !== b) expect(Math.abs(a.x - b.x) >= nodeSize.width || Math.abs(a.y - b.y) >= nodeSize.height).toBe(true)
      }
      expect(a.x + nodeSize.width / 2).toBeLessThanOrEqual(l.width)
      expect(a.y + nodeSize.height / 2).toBeLessThanOrEqual(l.height)
    }
  })
  test('do not hang on the order in which things are told', () => {
    expect(arrange({ nodes: [...input.nodes].reverse(), edges: [...input.edges].reverse() })).toEqual(l)
  })
  test('circles, calls to oneself and nothing at all', () => {
    const odd = arrange({ nodes: ['a', 'b'], edges: [{ id: 'a>b', from: 'a', to: 'b' }, { id: 'b>a', from: 'b', to: 'a' }, { id: 'a>a', from: 'a', to: 'a' }] })
    expect(Object.keys(odd.edges)).toEqual(['a>b', 'b>a', 'a>a'])
    expect(arrange({ nodes: [], edges: [] })).toEqual({ width: 0, height: 0, nodes: {}, edges: {} })
    expect(Object.keys(arrange({ nodes: ['a', 'b'], edges: [] }).nodes)).toEqual(['a', 'b'])
  })
  test('of many have the form of a screen, and nothing overlaps', () => {
    const many = Array.from({ length: 120 }, (_, i) => `a/${i}`)
    const calls = many.slice(1).map((to, i) => ({ id: `${many[Math.floor(i / 8)]}>${to}`, from: many[Math.floor(i / 8)]!, to }))
    const big = arrange({ nodes: many, edges: calls })
    expect(big.width / big.height).toBeGreaterThan(1)
    expect(big.width / big.height).toBeLessThan(3)
    expect(new Set(Object.values(big.nodes).map((p) => `${p.x} ${p.y}`)).size).toBe(120)
    expect(Object.keys(big.edges).length).toBe(119)
  })
  test('a long chain goes down where across it would be too small, and a very long one on below itself', () => {
    const chain = (n: number) => Array.from({ length: n }, (_, i) => `a/${String(i).padStart(3, '0')}`)
    const calls = (of: string[]) => of.slice(1).map((to, i) => ({ id: `${of[i]}>${to}`, from: of[i]!, to }))
    const down = arrange({ nodes: chain(8), edges: calls(chain(8)) })
    expect(down.nodes['a/000']!.y).toBeLessThan(down.nodes['a/001']!.y)
    const text = arrange({ nodes: chain(120), edges: calls(chain(120)) })
    expect(text.width / text.height).toBeLessThan(3)
    expect(new Set(Object.values(text.nodes).map((p) => `${p.x} ${p.y}`)).size).toBe(120)
    expect(Math.max(...Object.values(text.nodes).map((p) => p.y)) + nodeSize.height / 2).toBeLessThanOrEqual(text.height)
  })
  test('where each calls most others they stand in a circle, and calls there and back are two lines', () => {
    const all = Array.from({ length: 11 }, (_, i) => `n${i}/`)
    const calls = all.flatMap((from) => all.filter((to) => to !== from).map((to) => ({ id: `${from}>${to}`, from, to })))
    const ring = arrange({ nodes: all, edges: calls })
    const at = Object.values(ring.nodes)
    for (const a of at) for (const b of at) if (a !== b) expect(Math.abs(a.x - b.x) >= nodeSize.width || Math.abs(a.y - b.y) >= nodeSize.height).toBe(true)
    expect(ring.width / ring.height).toBeLessThan(3)
    expect(ring.edges['n0/>n1/']!.points[1]).not.toEqual(ring.edges['n1/>n0/']!.points[1])
  })
  test('the middle of a line', () => {
    expect(middle([{ x: 0, y: 0 }, { x: 10, y: 0 }, { x: 10, y: 30 }])).toEqual({ x: 10, y: 10 })
    expect(middle([{ x: 3, y: 4 }])).toEqual({ x: 3, y: 4 })
  })
})

describe('what is seen', () => {
  const frame = { width: 1000, height: 500 }
  test('all of it, not larger than it is', () => {
    expect(fitted({ width: 100, height: 100 }, frame)).toEqual({ k: 1, x: 450, y: 200 })
    expect(fitted({ width: 4000, height: 100 }, frame).k).toBeLessThan(0.25)
    expect(fitted({ width: 0, height: 0 }, frame)).toEqual({ x: 0, y: 0, k: 1 })
  })
  test('a part that can be read, where the whole cannot: there where most of what matters is', () => {
    expect(started({ width: 1500, height: 700 }, frame, [])).toEqual(fitted({ width: 1500, height: 700 }, frame))
    const plane = { width: 9000, height: 400 }
    const v = started(plane, frame, [{ x: 100, y: 200 }, { x: 5000, y: 200 }, { x: 5200, y: 250 }])
    expect(v.k).toBeGreaterThanOrEqual(0.6)
    for (const x of [5000, 5200]) expect(x * v.k + v.x).toBeGreaterThan(0)
    for (const x of [5000, 5200]) expect(x * v.k + v.x).toBeLessThan(frame.width)
    expect(started(plane, frame, [{ x: 100, y: 200 }]).x).toBeCloseTo(0) // not beyond the edge
  })
  test('what matters is what is chosen, or else the worst', () => {
    const failing = graphOf({ ...answer, nodes: [...answer.nodes, node('shop/bad', { open: 1 })] } as unknown as Topology, 900)
    expect(mattering(failing, {})).toEqual(['shop/bad'])
    expect(mattering(failing, { app: 'bank/ledger' })).toEqual(['bank/ledger'])
    expect(mattering(failing, { edge: 'shop/front>shop/orders' })).toEqual(['shop/front'])
    expect(mattering({ nodes: [], edges: [] }, { app: 'x/y' })).toEqual([])
  })
  test('zooming keeps the point below the mouse', () => {
    const v = zoomed({ x: 10, y: 20, k: 1 }, { x: 110, y: 70 }, 2)
    expect([(110 - v.x) / v.k, (70 - v.y) / v.k]).toEqual([100, 50])
    expect(zoomed({ x: 0, y: 0, k: 1 }, { x: 0, y: 0 }, 1e9).k).toBe(2.5)
    expect(zoomed({ x: 0, y: 0, k: 1 }, { x: 0, y: 0 }, 1e-9).k).toBe(0.05)
  })
  test('a node that gets the focus comes into sight', () => {
    const v = { x: 0, y: 0, k: 1 }
    expect(revealed(v, { x: 500, y: 250 }, frame, 50)).toBe(v)
    expect(revealed(v, { x: 2000, y: -100 }, frame, 50)).toEqual(moved(v, -1050, 150))
  })
  test('lines', () => {
    expect(pathOf([])).toBe('')
    expect(pathOf([{ x: 0, y: 0 }, { x: 10, y: 0 }])).toBe('M0.0 0.0L10.0 0.0')
    expect(pathOf([{ x: 0, y: 0 }, { x: 10, y: 0 }, { x: 10, y: 10 }])).toBe('M0.0 0.0Q10.0 0.0 10.0 10.0')
  })
})

describe('what is drawn of the plane', () => {
  const frame = { width: 1000, height: 600 }
  test('is what is in the frame, and some around it', () => {
    const box = seen({ x: 0, y: 0, k: 0.5 }, frame)
    expect(box).toEqual({ left: -200, top: -200, right: 2200, bottom: 1400 })
    expect(within(box, [{ x: 100, y: 100 }])).toBe(true)
    expect(within(box, [{ x: 2300, y: 100 }])).toBe(false)
    expect(within(box, [{ x: 2300, y: 100 }], 176, 58)).toBe(true)
    // A line may pass through though both its ends are elsewhere.
    expect(within(box, [{ x: -900, y: 500 }, { x: 5000, y: 600 }])).toBe(true)
  })
  test('has no label on another: the one that matters more stays', () => {
    const at: Record<string, { x: number; y: number }> = { worst: { x: 0, y: 0 }, covered: { x: 50, y: 10 }, below: { x: 50, y: 40 } }
    expect(apart(['worst', 'covered', 'below', 'nowhere'], (id) => at[id], { width: 92, height: 26 })).toEqual(['worst', 'below'])
  })
  test('stays the same while the plane is moved a little', () => {
    expect(seen({ x: -430, y: -80, k: 1 }, frame)).toEqual(seen({ x: -460, y: -90, k: 1 }, frame))
    expect(seen({ x: -430, y: -80, k: 1 }, frame)).not.toEqual(seen({ x: -830, y: -80, k: 1 }, frame))
  })
})
