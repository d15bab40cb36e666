import { describe, expect, test } from 'vitest'
import { chosen, graphOf, type Topology } from './model'
import { alarmingOf, byNamespace, groupingOf, holds, most, weighed, worstFirst } from './namespaces'

const node = (app: string, more = {}) => ({
  app, side: 'provider', live: 1, behind: 0, refusing: 0, rate: 0, errorPercent: 0, refusedPercent: 0, slowPercent: 0, p99Ms: 9, inFlight: 0, commands: 1, open: 0, forced: 0, ...more,
})
const edge = (from: string, to: string, more = {}) => ({ from, to, calls: 100, rate: 1, errorPercent: 0, refusedPercent: 0, slowPercent: 0, p99Ms: 9, states: { closed: 1 }, commands: 1, ...more })
const whole = graphOf(
  {
    from: '', to: '',
    nodes: [
      node('shop/a', { rate: 90, errorPercent: 0 }), node('shop/b', { rate: 10, errorPercent: 100, open: 1 }), node('shop/c', { live: 2 }),
      node('pay/a', { rate: 50 }), node('pay/b', { rate: 50, forced: 1 }), node('user/a', { side: 'unseen', live: 0 }),
    ],
    edges: [
      edge('shop/a', 'shop/b'),
      edge('shop/a', 'pay/a', { calls: 300, rate: 3, errorPercent: 1, states: { closed: 2 } }),
      edge('shop/b', 'pay/b', { calls: 100, rate: 1, errorPercent: 5, refusedPercent: 50, states: { open: 1, closed: 1 } }),
      edge('pay/a', 'user/a', { states: { halfOpen: 1 } }),
    ],
  } as unknown as Topology,
  900,
)
const by = (open?: string) => byNamespace(open ? chosen(whole, { namespace: open }) : whole, whole.nodes, open)

describe('namespaces in the place of applications', () => {
  test('rates and numbers add, shares weigh by calls, the worst state wins', () => {
    const shop = by().nodes.find((n) => n.id === 'shop/')!
    expect(shop).toMatchObject({ name: 'shop', condition: 'open', health: { rate: 100, errorPercent: 10, live: 4, open: 1 } })
    expect(shop.apps?.length).toBe(3)
    expect(alarmingOf(shop)).toBe(1)
    expect(by().nodes.map((n) => [n.id, n.condition])).toEqual([['pay/', 'forced'], ['shop/', 'open'], ['user/', 'unseen']])
  })
  test('have no percentile: there is none of many in those of each', () => {
    expect(by().nodes.every((n) => n.health.p99Ms === undefined)).toBe(true)
    expect(by().edges.every((e) => e.figures.p99Ms === undefined)).toBe(true)
  })
  test('edges between them add; what one calls of itself is not drawn', () => {
    const { edges } = by()
    expect(edges.map((e) => e.id)).toEqual(['shop/>pay/', 'pay/>user/'])
    const f = edges[0]!.figures
    expect(f).toMatchObject({ calls: 400, rate: 4, commands: 2, states: { closed: 3, open: 1 }, refusedPercent: 12.5 })
    expect(f.errorPercent).toBeCloseTo((300 * 1 + 50 * 5) / 350) // of the calls that ran
    expect(edges.map((e) => e.condition)).toEqual(['open', 'halfOpen'])
  })
  test('an open namespace shows its applications, the others stand for theirs', () => {
    const { nodes, edges } = by('pay')
    expect(nodes.map((n) => n.id)).toEqual(['pay/a', 'pay/b', 'shop/<', 'user/'])
    expect(nodes.find((n) => n.id === 'shop/<')?.health.rate).toBe(100) // as the whole of it is
    expect(edges.map((e) => e.id)).toEqual(['shop/<>pay/a', 'shop/<>pay/b', 'pay/a>user/'])
    expect(by('shop').edges.find((e) => e.id === 'shop/a>shop/b')?.parts).toBeUndefined()
  })
  test('an edge holds those it stands for', () => {
    const [first] = by().edges
    expect(holds(first!, 'shop/a>pay/a')).toBe(true)
    expect(holds(first!, 'shop/>pay/')).toBe(true)
    expect(holds(first!, 'pay/a>user/a')).toBe(false)
    expect(holds(first!, undefined)).toBe(false)
    expect(worstFirst(first!.parts!).map((e) => e.id)).toEqual(['shop/b>pay/b', 'shop/a>pay/a'])
  })
  test('shares of no calls are none', () => {
    expect(weighed([])).toBe(0)
    expect(weighed([[50, 0]])).toBe(0)
    expect(weighed([[50, 1], [0, 3]])).toBe(12.5)
  })
  test('are drawn for many, unless the address or what is chosen says otherwise', () => {
    expect(groupingOf(undefined, most + 1, {})).toBe('ns')
    expect(groupingOf(undefined, most, {})).toBe('app')
    expect(groupingOf('app', 200, {})).toBe('app')
    expect(groupingOf('ns', 3, {})).toBe('ns')
    expect(groupingOf('ns', 200, { app: 'a/b' })).toBe('app')
    expect(groupingOf(undefined, 200, { namespace: 'a' })).toBe('ns')
    expect(groupingOf(undefined, 200, { namespace: 'a', app: 'a/b' })).toBe('ns')
  })
})
