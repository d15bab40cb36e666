// Ranks of a large graph, and the order within each. A layout that also routes
// every edge takes seconds for hundreds of nodes; where lines cross everywhere it
// looks no better than this, which takes milliseconds.

interface Line {
  from: string
  to: string
}

/** How often the order is improved; more change little. */
const sweeps = 12

/** layered puts callers left of what they call, as far as they do not call each other, and what is joined near to each other. */
export function layered(nodes: readonly string[], edges: readonly Line[]): string[][] {
  const index = new Map(nodes.map((n, i) => [n, i]))
  const out: number[][] = nodes.map(() => [])
  const into: number[][] = nodes.map(() => [])
  for (const e of [...edges].sort((a, b) => (a.from === b.from ? compare(a.to, b.to) : compare(a.from, b.from)))) {
    const [a, b] = [index.get(e.from), index.get(e.to)]
    if (a === undefined || b === undefined || a === b) continue
    out[a]!.push(b)
    into[b]!.push(a)
  }
  const rank = ranksOf(out, into)
  const ranks: number[][] = []
  nodes.forEach((_, i) => (ranks[rank[i]!] ??= []).push(i))
  const place = new Float64Array(nodes.length)
  const settle = (r: number[]) => r.forEach((n, i) => (place[n] = (i + 0.5) / r.length))
  ranks.forEach(settle)
  for (let s = 0; s < sweeps; s++) {
    // To the right by what is left of a rank, and back by what is right of it.
    const right = s % 2 === 0
    for (const r of right ? ranks : [...ranks].reverse()) {
      const wanted = new Map(
        r.map((n) => {
          const near = (right ? into[n]! : out[n]!).filter((m) => (right ? rank[m]! < rank[n]! : rank[m]! > rank[n]!))
          return [n, near.length === 0 ? place[n]! : near.reduce((sum, m) => sum + place[m]!, 0) / near.length]
        }),
      )
      r.sort((a, b) => wanted.get(a)! - wanted.get(b)! || a - b)
      settle(r)
    }
  }
  return ranks.map((r) => r.map((n) => nodes[n]!))
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** ranksOf is the longest way by which each is called; a call that closes a circle does not count. */
function ranksOf(out: readonly number[][], into: readonly number[][]): Int32Array {
  const n = out.length
  // Whoever nobody calls is looked at first: what calls back into a chain is then found to do so.
  const order = [...Array(n).keys()].sort((a, b) => Number(into[a]!.length > 0) - Number(into[b]!.length > 0) || a - b)
  const state = new Uint8Array(n) // 1: on the way here, 2: done
  const done: number[] = []
  const forward: number[][] = out.map(() => [])
  for (const from of order) {
    if (state[from] !== 0) continue
    const stack: [node: number, next: number][] = [[from, 0]]
    state[from] = 1
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!
      const to = out[top[0]]![top[1]++]
      if (to === undefined) {
        state[top[0]] = 2
        done.push(top[0])
        stack.pop()
      } else if (state[to] !== 1) {
        forward[top[0]]!.push(to)
        if (state[to] === 0) {
          state[to] = 1
          stack.push([to, 0])
        }
      }
    }
  }
  const rank = new Int32Array(n)
  for (let i = done.length - 1; i >= 0; i--) for (const to of forward[done[i]!]!) rank[to] = Math.max(rank[to]!, rank[done[i]!]! + 1)
  return rank
}
