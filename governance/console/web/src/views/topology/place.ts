// The layout of a graph, found in a worker, anew only when its nodes and edges change.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { backoff } from '~/live/backoff'
import type { Layout, LayoutInput } from './places'
import { shapeOf, type Graph } from './model'

export interface Placed {
  key: string
  layout: Layout
}

/** Graphs that were seen of late: who comes back to one finds it at once. */
const known = new Map<string, Layout>()
const mostKnown = 8

function keep({ key, layout }: Placed) {
  known.delete(key)
  known.set(key, layout)
  for (const oldest of known.keys()) if (known.size > mostKnown) known.delete(oldest)
}

/** usePlaces returns the places of a graph's parts; those of the graph before while they are being found. */
export function usePlaces(g: Graph): Placed | undefined {
  const worker = useRef<Worker>()
  const key = useMemo(() => shapeOf(g), [g])
  const [found, setPlaced] = useState<Placed>()
  const before = known.get(key)
  const placed = before ? { key, layout: before } : found
  const wanted = useRef(key)
  wanted.current = key
  useEffect(() => {
    if (known.has(key)) {
      setPlaced({ key, layout: known.get(key)! })
      return
    }
    const take = (p: Placed) => {
      keep(p)
      if (p.key === wanted.current) setPlaced(p)
    }
    const input: LayoutInput = { nodes: g.nodes.map((n) => n.id), edges: g.edges.map(({ id, from, to }) => ({ id, from, to })) }
    let again: ReturnType<typeof setTimeout> | undefined
    let failures = 0
    let gone = false
    const stop = () => {
      gone = true
      clearTimeout(again)
    }
    const here = () =>
      void import('./layout').then(
        ({ arrange }) => take({ key, layout: arrange(input) }),
        () => {
          if (!gone) again = setTimeout(here, backoff(failures++)) // the server is away, as the live pill says
        },
      )
    try {
      worker.current ??= new Worker(new URL('./layout.worker.ts', import.meta.url), { type: 'module' })
    } catch {
      here() // where workers are forbidden, the page waits instead
      return stop
    }
    worker.current.onmessage = (e: MessageEvent<Placed>) => take(e.data)
    worker.current.onerror = here
    worker.current.postMessage({ key, input })
    return stop
  }, [key])
  useEffect(() => () => worker.current?.terminate(), [])
  return placed
}
