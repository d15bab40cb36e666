import { beforeEach, describe, expect, test } from 'vitest'
import { events, forget, forgetAll, health, sourceStale, secondsOf, takeEvent, takeHealth, takeSamples, type AppHealth, type LiveEvent } from '~/live/store'

const app = (name: string, rate = 1): AppHealth => ({ app: name, side: 'provider', live: 1, behind: 0, refusing: 0, rate, errorPercent: 0, refusedPercent: 0, slowPercent: 0, inFlight: 0, commands: 1, open: 0, forced: 0 })

describe('health', () => {
  test('a full message replaces, others change', () => {
    takeHealth({ full: true, items: [app('shop/a'), app('shop/b')] })
    takeHealth({ items: [app('shop/b', 5)], gone: ['shop/a'] })
    expect([...health.value.values()]).toEqual([app('shop/b', 5)])
    const before = health.value
    takeHealth({ items: [] }) // a heartbeat makes nobody render
    expect(health.value).toBe(before)
    takeHealth({ full: true, items: [] })
    expect(health.value.size).toBe(0)
  })
})

describe('seconds', () => {
  const series = { command: 'reserve', at: 'provider' }
  const second = (s: number, success: number) => ({ ...series, second: s, counts: { success }, inFlight: 0, instances: 1, states: {} })
  beforeEach(() => forget('shop/a'))
  test('a later word on a second replaces the earlier', () => {
    takeSamples({ app: 'shop/a', backfill: true, items: [second(1, 1), second(2, 1)] })
    takeSamples({ app: 'shop/a', items: [second(2, 7)] })
    expect([...secondsOf('shop/a', series).values()].map((s) => s.counts.success)).toEqual([1, 7])
  })
  test('a backfill begins anew', () => {
    takeSamples({ app: 'shop/a', items: [second(1, 1)] })
    takeSamples({ app: 'shop/a', backfill: true, items: [second(9, 1)] })
    expect([...secondsOf('shop/a', series).keys()]).toEqual([9])
  })
  test('old seconds go', () => {
    takeSamples({ app: 'shop/a', items: Array.from({ length: 2000 }, (_, i) => second(i, 1)) })
    const kept = [...secondsOf('shop/a', series).keys()]
    expect(kept.length).toBeLessThanOrEqual(661)
    expect(Math.max(...kept)).toBe(1999)
  })
})

test('an event that comes twice is one', () => {
  const e = (id: number): LiveEvent => ({ id, time: '2026-01-01T00:00:00Z', kind: 'transition' })
  takeEvent(e(1))
  takeEvent(e(2))
  takeEvent(e(1))
  expect(events.value.map((x) => x.id)).toEqual([2, 1])
})

test('who logs in next finds nothing of the one before', () => {
  const series = { command: 'pay', at: 'provider' }
  takeHealth({ full: true, items: [app('bank/ledger')], stale: '2026-01-01T00:00:00Z' })
  takeSamples({ app: 'bank/ledger', items: [{ ...series, second: 1, counts: {}, inFlight: 0, instances: 1, states: {} }] })
  takeEvent({ id: 77, time: '2026-01-01T00:00:00Z', kind: 'transition', app: 'bank/ledger' })
  forgetAll()
  expect([health.value.size, events.value.length, secondsOf('bank/ledger', series).size, sourceStale.value]).toEqual([0, 0, 0, undefined])
})
