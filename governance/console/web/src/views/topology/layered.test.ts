import { describe, expect, test } from 'vitest'
import { layered } from './layered'

const edges = (...pairs: string[]) => pairs.map((p) => ({ from: p.split('>')[0]!, to: p.split('>')[1]! }))
const nodesOf = (e: { from: string; to: string }[]) => [...new Set(e.flatMap((x) => [x.from, x.to]))].sort()

describe('ranks', () => {
  test('are the longest way from a caller', () => {
    const e = edges('a>b', 'b>c', 'a>c', 'd>c')
    expect(layered(nodesOf(e), e)).toEqual([['a', 'd'], ['b'], ['c']])
  })
  test('end where calls go round, and leave whoever is called by nobody first', () => {
    const e = edges('b>c', 'c>b', 'z>b', 'c>c')
    expect(layered(nodesOf(e), e)).toEqual([['z'], ['b'], ['c']])
  })
  test('hold every node once', () => {
    const e = Array.from({ length: 900 }, (_, i) => ({ from: `n${i % 300}`, to: `n${(i * 7 + 3) % 300}` }))
    const all = layered(nodesOf(e), e).flat()
    expect([...all].sort()).toEqual(nodesOf(e))
  })
  test('go as deep as a chain of any length', () => {
    const e = Array.from({ length: 20_000 }, (_, i) => ({ from: `n${i}`, to: `n${i + 1}` }))
    expect(layered(nodesOf(e), e)).toHaveLength(20_001)
  })
})

test('within a rank what is joined stands side by side', () => {
  // By their names the lines would cross: a1 calls z.
  const e = edges('a1>z', 'a2>y', 'a3>x')
  const [first, second] = layered(nodesOf(e), e)
  expect(first!.map((n) => e.find((x) => x.from === n)!.to)).toEqual(second)
})
