import { describe, expect, test } from 'vitest'
import type { AppHealth } from '~/live/store'
import { blocksOf, countsOf, figuresOf, sizesOf, tilesOf } from './tiles'

const app = (name: string, more: Partial<AppHealth> = {}): AppHealth => ({
  app: name, side: 'provider', live: 2, behind: 0, refusing: 0, rate: 10, errorPercent: 0, refusedPercent: 0, slowPercent: 0,
  inFlight: 0, commands: 1, open: 0, forced: 0, ...more,
})
const tiles = tilesOf([
  app('shop/cart'), app('bank/ledger', { errorPercent: 9 }), app('shop/orders', { open: 1 }), app('shop/app10'), app('shop/app2'), app('bank/rates', { rate: 0 }),
])
const names = (wish: Parameters<typeof blocksOf>[1]) => blocksOf(tiles, wish).map((b) => [b.namespace, b.alarming, ...b.tiles.map((t) => t.name)])

describe('the health grid', () => {
  test('the worst first, then by name', () => {
    expect(names({ order: 'worst', grouped: false })).toEqual([['', 2, 'orders', 'ledger', 'app2', 'app10', 'cart', 'rates']])
  })
  test('by name', () => {
    expect(names({ order: 'name', grouped: false })).toEqual([['', 2, 'ledger', 'rates', 'app2', 'app10', 'cart', 'orders']])
  })
  test('groups stand where their worst is, or by name', () => {
    expect(names({ order: 'worst', grouped: true })).toEqual([['shop', 1, 'orders', 'app2', 'app10', 'cart'], ['bank', 1, 'ledger', 'rates']])
    expect(names({ order: 'name', grouped: true }).map(([ns]) => ns)).toEqual(['bank', 'shop'])
  })
  test('a filter and a condition leave out the others', () => {
    expect(names({ order: 'worst', grouped: false, filter: 'shop app' })).toEqual([['', 0, 'app2', 'app10']])
    expect(names({ order: 'worst', grouped: false, only: 'errors' })).toEqual([['', 1, 'ledger']])
    expect(names({ order: 'worst', grouped: false, only: 'nothing' })).toEqual([])
  })
  test('order does not follow figures', () => {
    const before = blocksOf(tilesOf([app('a/x', { errorPercent: 6 }), app('a/y', { errorPercent: 9 })]), { order: 'worst', grouped: false })
    expect(before[0]?.tiles.map((t) => t.name)).toEqual(['x', 'y'])
  })
  test('counts by condition, the worst first', () => {
    expect(countsOf(tiles)).toEqual([['open', 1], ['errors', 1], ['ok', 3], ['idle', 1]])
  })
  test('figures of small tiles have two digits', () => {
    expect(figuresOf(app('a/b', { rate: 1451.2, errorPercent: 31.4, p99Ms: 267.4 }))).toEqual({ rate: 1.5, thousands: true, errorPercent: 31, p99Ms: 267 })
    expect(figuresOf(app('a/b', { rate: 0.137, errorPercent: 0.042 }))).toEqual({ rate: 0.14, thousands: false, errorPercent: 0.04, p99Ms: undefined })
  })
  test('many are small, and what is wrong among them is not', () => {
    const some = tilesOf(Array.from({ length: 70 }, (_, i) => app(`a/${i}`, i < 3 ? { open: 1 } : {})))
    const sizes = (all: number, order: 'worst' | 'name') => sizesOf(some, all, order).map((s) => [s.small, s.tiles.length])
    expect(sizes(60, 'worst')).toEqual([[false, 70]])
    expect(sizes(70, 'worst')).toEqual([[false, 3], [true, 67]])
    expect(sizes(70, 'name')).toEqual([[true, 70]])
    // Of very much that is wrong the worst is large.
    const bad = tilesOf(Array.from({ length: 70 }, (_, i) => app(`a/${i}`, { open: 1 })))
    expect(sizesOf(bad, 70, 'worst').map((s) => s.tiles.length)).toEqual([30, 40])
  })
})
