import { expect, test } from 'vitest'
import { byTable, fullness, versionsOf } from '~/views/system/sums'

test('partitions are joined by table, the largest first', () => {
  const tables = byTable([
    { schema: 'governance', table: 'chunk', name: 'chunk_1', rows: 10, bytes: 100, from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' },
    { schema: 'tracing', table: 'span', name: 'span_1', rows: 5, bytes: 500 },
    { schema: 'governance', table: 'chunk', name: 'chunk_2', rows: -1, bytes: 50, from: '2026-01-02T00:00:00Z', to: '2026-01-03T00:00:00Z' },
  ])
  expect(tables.map((t) => [t.name, t.rows, t.bytes, t.parts.length])).toEqual([['tracing.span', 5, 500, 1], ['governance.chunk', 10, 150, 2]])
  expect(tables[1]!.from).toBe('2026-01-01T00:00:00Z')
  expect(tables[1]!.to).toBe('2026-01-02T00:00:00Z')
})

test('versions are counted', () => {
  expect(versionsOf([{ version: 'b' }, { version: 'a' }, { version: 'a' }])).toEqual([['a', 2], ['b', 1]])
})

test('a queue without a limit is never full', () => {
  expect(fullness({ depth: 5 })).toBeUndefined()
  expect(fullness({ depth: 5, limit: 10 })).toBe(0.5)
  expect(fullness({ depth: 50, limit: 10 })).toBe(1)
})
