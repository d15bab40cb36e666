import { describe, expect, test } from 'vitest'
import { foldedOf, foldsOf, levelsOf } from './folds'
import { toggled, treeOf } from './rows'

// 0 ─┬ 1 ─┬ 2
//    │    └ 3 ── 4
//    └ 5 ── 6
const spans = [
  { id: 'aaaa000000000000', parent: -1, depth: 0 },
  { id: 'abcd000000000000', parent: 0, depth: 1 },
  { id: 'ffff000000000000', parent: 1, depth: 2 },
  { id: 'abcd100000000000', parent: 1, depth: 2 },
  { id: 'eeee000000000000', parent: 3, depth: 3 },
  { id: 'abcd100000000000', parent: 0, depth: 1, shared: true },
  { id: 'dddd000000000000', parent: 5, depth: 2 },
]
const tree = treeOf(spans)
const written = (folded: ReadonlySet<number>, levels?: number) => foldsOf(tree, spans, folded, levels)
const read = (f: { levels?: number; fold?: string }) => [...foldedOf(tree, spans, { levels: f.levels === undefined ? undefined : String(f.levels), fold: f.fold })].sort()

describe('closed rows', () => {
  test('stand in the address by as little of their ids as tells them apart', () => {
    expect(written(new Set())).toEqual({ levels: undefined, fold: undefined })
    expect(written(new Set([1])).fold).toBe('abcd0')
    expect(written(new Set([0, 3])).fold).toBe('aaaa-abcd100000000000')
    expect(written(new Set([5])).fold).toBe('abcd100000000000.')
  })
  test('are found again', () => {
    for (const folded of [[], [0], [1], [3], [5], [1, 5], [0, 1, 3, 5]]) expect(read(written(new Set(folded)))).toEqual(folded)
  })
  test('are the levels that are shown, and what differs from them', () => {
    const two = foldedOf(tree, spans, { levels: '2' })
    expect([...two]).toEqual([1, 3, 5])
    expect(written(two, 2)).toEqual({ levels: 2, fold: undefined })
    const opened = toggled(two, 1)
    expect(written(opened, 2)).toEqual({ levels: 2, fold: 'abcd0' })
    expect(read(written(opened, 2))).toEqual([3, 5])
  })
  test('of an address that says nonsense are none, and what has nothing below is never one', () => {
    expect([...foldedOf(tree, spans, { levels: '-1', fold: '--0000-zz-ffff' })]).toEqual([])
    expect(levelsOf('0')).toBeUndefined()
    expect(levelsOf('1e3')).toBeUndefined()
    expect(levelsOf('12')).toBe(12)
  })
  test('fit an address, however many there are', () => {
    const many = Array.from({ length: 20_000 }, (_, i) => ({ id: ((i * 2654435761) >>> 0).toString(16).padStart(16, '0'), parent: i % 2 === 0 ? -1 : i - 1, depth: i % 2 }))
    const big = treeOf(many)
    const folded = new Set(many.flatMap((_, i) => (i % 2 === 0 ? [i] : [])))
    expect(foldsOf(big, many, folded).fold!.length).toBeLessThan(6000)
    expect(foldsOf(big, many, folded, 1)).toEqual({ levels: 1, fold: undefined })
  })
})
