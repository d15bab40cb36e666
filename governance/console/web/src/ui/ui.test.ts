import { describe, expect, test } from 'vitest'
import { matches } from '~/ui/field'
import { diffLines } from '~/ui/lines'
import { sparkPath } from '~/ui/spark'
import { sorted, type Column } from '~/ui/table'

describe('tables', () => {
  interface Row {
    n: string
    v?: number
  }
  const rows: Row[] = [{ n: 'a10', v: 3 }, { n: 'a2' }, { n: 'a1', v: 9 }]
  const columns: Column<Row>[] = [
    { key: 'n', label: 'Name', cell: (r) => r.n, sort: (r) => r.n },
    { key: 'v', label: 'Value', cell: (r) => r.v, sort: (r) => r.v },
    { key: 'x', label: 'Other', cell: () => null },
  ]
  const order = (by?: string) => sorted(rows, columns, by).map((r) => r.n)
  test('names sort as people count', () => expect(order('n')).toEqual(['a1', 'a2', 'a10']))
  test('what is unknown comes last, both ways', () => {
    expect(order('v')).toEqual(['a10', 'a1', 'a2'])
    expect(order('-v')).toEqual(['a1', 'a10', 'a2'])
  })
  test('an order that there is not leaves the rows as they are', () => {
    for (const by of [undefined, 'x', 'nothing']) expect(order(by)).toEqual(['a10', 'a2', 'a1'])
  })
})

describe('differences', () => {
  const text = (before: string, after: string, context?: number) => diffLines(before, after, context).map((l) => ({ same: ' ', add: '+', del: '-', skip: '~' })[l.kind] + l.text)
  test('equal texts', () => expect(text('a\nb', 'a\nb')).toEqual(['~2']))
  test('a changed line', () => expect(text('a\nb\nc', 'a\nx\nc', 1)).toEqual([' a', '-b', '+x', ' c']))
  test('lines that moved', () => expect(text('a\nb\nc', 'b\nc\na', 0)).toEqual(['-a', '~2', '+a']))
  test('far lines are folded', () => {
    const long = Array.from({ length: 20 }, (_, i) => `l${i}`).join('\n')
    expect(text(long, `${long}\nend`, 2)).toEqual(['~18', ' l18', ' l19', '+end'])
  })
  test('whatever differs, the lines make both texts', () => {
    const random = (seed: number) => Array.from({ length: 30 }, (_, i) => 'abc'[(seed * 7 + i * i * seed) % 3]).join('\n')
    for (let seed = 1; seed < 40; seed++) {
      const [a, b] = [random(seed), random(seed + 1)]
      const lines = diffLines(a, b, 100)
      expect(lines.filter((l) => l.kind !== 'add').map((l) => l.text).join('\n')).toBe(a)
      expect(lines.filter((l) => l.kind !== 'del').map((l) => l.text).join('\n')).toBe(b)
    }
  })
})

test('a filter takes words in any order', () => {
  expect(matches('inv reserve', 'InventoryService.reserve', 'shop/inventory')).toBe(true)
  expect(matches('inv cart', 'InventoryService.reserve')).toBe(false)
  expect(matches(undefined, 'x')).toBe(true)
})

test('a spark leaves gaps where nothing is known', () => {
  expect(sparkPath([1, null, 1, 0.5], 30, 10).match(/M/g)).toHaveLength(2)
  expect(sparkPath([], 30, 10)).toBe('')
})
