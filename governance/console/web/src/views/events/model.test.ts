import { describe, expect, test } from 'vitest'
import type { LiveEvent } from '~/live/store'
import { sentence } from './line'
import { chartOf, counted, fits, grouped, instancesOf, kindsOf, merged, policyOf } from './model'

const at = (s: number) => new Date(Date.UTC(2026, 0, 1, 3, 0, s)).toISOString()
const event = (id: number, s: number, more: Partial<LiveEvent> = {}): LiveEvent => ({ id, time: at(s), kind: 'instance.joined', app: 'shop/orders', instance: `i${id}`, ...more })
const trip = (id: number, s: number, more: Partial<LiveEvent> = {}): LiveEvent =>
  event(id, s, {
    kind: 'transition', command: 'reserve',
    transition: { time: at(s), from: 'closed', to: 'open', cause: '62 % of 34 calls failed', window: { failure: 21, success: 13 }, command: 'reserve', at: 'caller', peer: 'shop/inventory' },
    ...more,
  })

test('what was read and what came live is one list, the newest first', () => {
  const list = merged([event(3, 3), event(1, 1)], [event(4, 4), event(3, 3), event(2, 3)])
  expect(list.map((e) => e.id)).toEqual([4, 3, 2, 1])
})

describe('equal events of one moment', () => {
  test('are one group, though others stand between them', () => {
    const groups = grouped([event(5, 9), trip(4, 8), event(3, 5), event(2, 2, { app: 'shop/cart' }), event(1, 0)])
    expect(groups.map((g) => g.events.map((e) => e.id))).toEqual([[5, 3, 1], [4], [2]])
  })
  test('a group keeps its key while newer ones join', () => {
    expect(grouped([event(1, 0)])[0]?.key).toBe(1)
    expect(grouped([event(2, 1), event(1, 0)])[0]?.key).toBe(1)
  })
  test('a later one begins anew, a chain of close ones goes on', () => {
    expect(grouped([event(2, 11), event(1, 0)]).length).toBe(2)
    expect(grouped([event(3, 18), event(2, 9), event(1, 0)]).length).toBe(1)
  })
  test('a circuit that moves to and fro in one instance is not many instances', () => {
    const say = (g: LiveEvent[]) => sentence(g[0]!, g.length, instancesOf(g))
    expect(say([trip(1, 0)])).toBe('Closed → Open')
    expect(say([trip(2, 1), trip(1, 0)])).toBe('Closed → Open on 2 instances')
    expect(say([trip(2, 5, { instance: 'a' }), trip(1, 0, { instance: 'a' })])).toBe('Closed → Open, 2 times')
    expect(say([trip(3, 5, { instance: 'a' }), trip(2, 1, { instance: 'b' }), trip(1, 0, { instance: 'a' })])).toBe('Closed → Open, 3 times on 2 instances')
  })
  test('another state, policy or reason is another group', () => {
    const opened = trip(2, 1)
    const half = trip(1, 0, { transition: { ...opened.transition!, to: 'halfOpen' } })
    expect(grouped([opened, half]).length).toBe(2)
    const refused = (id: number, reason: string) => event(id, 0, { kind: 'policy.refused', policy: 'shop/p', version: 3, reason })
    expect(grouped([refused(3, 'a'), refused(2, 'a'), refused(1, 'b')]).length).toBe(2)
  })
  test('publications stand alone', () => {
    const published = (id: number) => event(id, 0, { kind: 'policy.published', policy: 'shop/p', version: id })
    expect(grouped([published(2), published(1)]).length).toBe(2)
  })
})

test('conditions hold for live events too', () => {
  const e = trip(1, 0)
  expect(fits(e, { kinds: [] })).toBe(true)
  expect(fits(e, { app: 'shop/orders', command: 'reserve', instance: 'i1', kinds: ['transition', 'x'] })).toBe(true)
  for (const c of [{ app: 'shop/cart' }, { command: 'x' }, { instance: 'i2' }]) expect(fits(e, { ...c, kinds: [] })).toBe(false)
  expect(fits(e, { kinds: ['policy.published'] })).toBe(false)
  expect(kindsOf('transition, policy.refused,,transition')).toEqual(['transition', 'policy.refused'])
})

test('counts of the window leave out zeros', () => {
  expect(counted(trip(1, 0))).toEqual([['failure', 21], ['success', 13]])
  expect(counted(event(1, 0))).toEqual([])
})

test('an event leads to its chart and its policy', () => {
  const t = Date.UTC(2026, 0, 1, 3)
  const url = new URL(chartOf(trip(1, 0))!, 'http://x')
  expect(url.pathname).toBe('/apps/shop/orders')
  expect(Object.fromEntries(url.searchParams)).toEqual({ command: 'reserve', at: 'caller', peer: 'shop/inventory', instance: 'i1', from: String(t - 900_000), to: String(t + 900_000) })
  expect(chartOf(event(1, 0, { app: undefined }))).toBeUndefined()
  expect(policyOf(event(1, 0, { policy: 'shop/p', version: 3 }))).toBe('/policies/shop/p?version=3')
})
