import { describe, expect, test } from 'vitest'
import { find, textsOf } from './find'
import { inView, nextOf, revealed, rowOf, toLevel, toggled, treeOf, visible, type Span } from './rows'

/** span makes one of a trace. */
export function span(of: Partial<Span> & { id: string; parent: number }): Span {
  return { depth: 0, service: 'orders', name: 'get', kind: 'SERVER', start: 0, duration: 10, self: 5, error: false, critical: [], tags: [], annotations: [], ...of }
}

// 0 ─┬ 1 ── 2
//    └ 3
// 4
const small = [span({ id: 'a', parent: -1 }), span({ id: 'b', parent: 0, depth: 1 }), span({ id: 'c', parent: 1, depth: 2 }), span({ id: 'c', parent: 0, depth: 1, shared: true }), span({ id: 'd', parent: -1 })]

/** big is a trace of n spans: each tenth is a call, the others are below it. */
function big(n: number): Span[] {
  return Array.from({ length: n }, (_, i) =>
    span({ id: i.toString(16), parent: i === 0 ? -1 : i % 10 === 1 || i % 10 === 0 ? 0 : i - 1, depth: i === 0 ? 0 : i % 10 === 0 ? 1 : ((i - 1) % 10) + 1, tags: [['n', String(i)]] }),
  )
}

/** counting tells how often each element of a list was read. */
function counting<T extends object>(list: T): { list: T; most: () => number; sum: () => number } {
  const reads = new Map<string, number>()
  const proxy = new Proxy(list, {
    get(of, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads.set(key, (reads.get(key) ?? 0) + 1)
      return Reflect.get(of, key, of)
    },
  })
  return { list: proxy, most: () => Math.max(0, ...reads.values()), sum: () => [...reads.values()].reduce((a, b) => a + b, 0) }
}

describe('the tree', () => {
  const tree = treeOf(small)
  test('knows what is below what', () => {
    expect([...tree.end]).toEqual([4, 3, 3, 4, 5])
    expect([...tree.children]).toEqual([2, 1, 0, 0, 0])
    expect([...tree.position]).toEqual([1, 1, 1, 2, 2])
    expect(tree.tops).toBe(2)
  })
  test('tells spans apart that share an id', () => {
    expect(tree.keys).toEqual(['a', 'b', 'c', 'c.server', 'd'])
    expect(treeOf([small[0]!, small[0]!, small[0]!]).keys).toEqual(['a', 'a.2', 'a.3'])
  })
})

describe('visible rows', () => {
  const { end, parent } = treeOf(small)
  test('are all, less what is below collapsed ones', () => {
    expect(visible(end, new Set())).toEqual([0, 1, 2, 3, 4])
    expect(visible(end, new Set([1]))).toEqual([0, 1, 3, 4])
    expect(visible(end, new Set([0, 1]))).toEqual([0, 4])
    expect(visible(new Int32Array(0), new Set())).toEqual([])
  })
  test('are found by their span', () => {
    expect(rowOf([0, 1, 3, 4], 3)).toBe(2)
    expect(rowOf([0, 1, 3, 4], 2)).toBe(-1)
    expect(rowOf([], 0)).toBe(-1)
  })
  test('go down to a level', () => {
    const tree = treeOf(small)
    expect(visible(end, toLevel(tree, small, 1))).toEqual([0, 4])
    expect(visible(end, toLevel(tree, small, 2))).toEqual([0, 1, 3, 4])
    expect(visible(end, toLevel(tree, small, 3))).toEqual([0, 1, 2, 3, 4])
  })
  test('a hidden one is revealed, and nothing else', () => {
    expect([...revealed(parent, new Set([0, 1]), 2)]).toEqual([])
    expect([...revealed(parent, new Set([1]), 3)]).toEqual([1])
    const same = new Set([2])
    expect(revealed(parent, same, 2)).toBe(same)
  })
  test('are opened and closed', () => {
    expect([...toggled(new Set([1]), 1)]).toEqual([])
    expect([...toggled(new Set([1]), 0)]).toEqual([1, 0])
  })
  test('of ten thousand spans are found by looking at each once at most', () => {
    const spans = big(10_000)
    const read = counting(spans)
    const tree = treeOf(read.list)
    expect(read.most()).toBe(1)
    const ends = counting(Array.from(tree.end))
    expect(visible(ends.list, new Set())).toHaveLength(10_000)
    expect(ends.sum()).toBe(0) // nothing is collapsed: no end is of interest
    expect(visible(ends.list, toLevel(tree, spans, 2)).length).toBeLessThan(2100)
    expect(ends.most()).toBe(1)
    expect(visible(ends.list, new Set([0]))).toEqual([0])
  })
  test('that are drawn are few, wherever the scroll is', () => {
    expect(inView(0, 600, 28, 10_000)).toEqual([0, 30])
    expect(inView(140_000, 600, 28, 10_000)).toEqual([4992, 5030])
    expect(inView(280_000, 600, 28, 10_000)).toEqual([9992, 10_000])
    expect(inView(5000, 600, 28, 3)).toEqual([3, 3])
  })
})

describe('finding', () => {
  const spans = [
    span({ id: 'a', parent: -1, service: 'Shop', name: 'get /cart' }),
    span({ id: 'b', parent: 0, tags: [['http.status_code', '500']], annotations: [{ at: 1, value: 'retry 1' }] }),
    span({ id: 'c', parent: 0, command: 'StockService.reserve', peer: 'shop/stock' }),
  ]
  const texts = textsOf(spans)
  test.each([
    ['shop', [0, 2]], ['GET cart', [0]], ['http.status_code=500', [1]], ['retry', [1]], ['reserve shop/stock', [2]], ['nothing', []], ['  ', []], ['', []],
  ])('%j', (query, want) => expect(find(texts, query)).toEqual(want))
  test('goes on to the next, and round', () => {
    expect(nextOf([2, 5, 9], 5, 1)).toBe(9)
    expect(nextOf([2, 5, 9], 9, 1)).toBe(2)
    expect(nextOf([2, 5, 9], -1, 1)).toBe(2)
    expect(nextOf([2, 5, 9], 5, -1)).toBe(2)
    expect(nextOf([2, 5, 9], 1, -1)).toBe(9)
    expect(nextOf([], 1, 1)).toBe(-1)
  })
  test('in ten thousand spans looks at each once', () => {
    const read = counting(big(10_000))
    const texts = counting(textsOf(read.list))
    expect(read.most()).toBe(1)
    expect(find(texts.list, 'n=777')).toHaveLength(11)
    expect(texts.most()).toBe(1)
  })
})
