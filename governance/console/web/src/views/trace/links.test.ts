import { describe, expect, test } from 'vitest'
import { likePath, linksOf, policyPath } from './links'
import { groups } from './stats'
import type { Span } from './rows'

const bare: Span = { id: 'a', parent: -1, depth: 0, service: 'orders', name: 'get /cart', kind: 'SERVER', start: 0, duration: 0, self: 0, error: false, critical: [], tags: [], annotations: [] }
const start = 1_700_000_000_000_000

describe('links of a span', () => {
  test('that says nothing of itself lead to those of its name', () => {
    expect(linksOf(bare, start)).toEqual([['like', '/traces?service=orders&span=get+%2Fcart']])
    expect(likePath({ ...bare, service: '' })).toBeUndefined()
  })
  test('of a caller lead to the circuit towards its peer, around the moment', () => {
    const s: Span = { ...bare, start: 1500, duration: 2000, app: 'shop/orders', instance: 'orders-1', command: 'Stock.reserve', at: 'caller', peer: 'shop/stock', policy: 'shop/stop', policyVersion: 3, tags: [['weir.route', 'shop/cart']] }
    expect(Object.fromEntries(linksOf(s, start))).toEqual({
      chart: '/apps/shop/orders?command=Stock.reserve&at=caller&peer=shop%2Fstock&from=1699999700001&to=1700000300004',
      explain: '/apps/shop/orders?tab=explain&command=Stock.reserve&at=caller&peer=shop%2Fstock&instance=orders-1',
      policy: '/policies/shop/stop?version=3',
      route: '/routes/shop/cart',
      events: '/events?app=shop%2Forders&from=1699999700001&to=1700000300004',
      instance: '/apps/shop/orders?tab=instances&instance=orders-1',
      like: '/traces?app=shop%2Forders&command=Stock.reserve',
    })
  })
  test('of a provider have no peer', () => {
    const chart = linksOf({ ...bare, app: 'shop/stock', command: 'reserve', at: 'provider', peer: 'shop/x' }, start)[0]!
    expect(chart[1]).toMatch(/^\/apps\/shop\/stock\?command=reserve&at=provider&from=/)
  })
  test('what is no name of a policy leads nowhere', () => {
    expect(policyPath({ policy: 'stop' })).toBeUndefined()
    expect(policyPath({ policy: 'a/b/c' })).toBeUndefined()
    expect(policyPath({ policy: 'a/b' })).toBe('/policies/a/b')
  })
})

describe('statistics', () => {
  const spans: Span[] = [
    { ...bare, duration: 100, self: 40, critical: [[0, 10], [90, 100]] },
    { ...bare, name: 'query', duration: 50, self: 50, error: true, critical: [[10, 60]] },
    { ...bare, service: 'stock', duration: 20, self: 20, refused: 'open' },
    { ...bare, duration: 10, self: 10 },
  ]
  test('are by application', () => {
    expect(groups(spans, 'app')).toEqual([
      { key: 'orders', service: 'orders', spans: 3, total: 160, self: 100, longest: 100, critical: 70, errors: 1, refused: 0 },
      { key: 'stock', service: 'stock', spans: 1, total: 20, self: 20, longest: 20, critical: 0, errors: 0, refused: 1 },
    ])
  })
  test('are by name', () => {
    expect(groups(spans, 'name').map((g) => [g.service, g.name, g.spans, g.critical])).toEqual([
      ['orders', 'query', 1, 50],
      ['orders', 'get /cart', 2, 20],
      ['stock', 'get /cart', 1, 0],
    ])
  })
})
