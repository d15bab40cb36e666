// The layout of a graph, found in a worker, anew only when its nodes and edges change.
import { useEffect, useRef, useState } from 'preact/hooks'
import { backoff } from '~/live/backoff'
import type { Layout, LayoutInput } from './layout'
import { shapeOf, type Graph } from './model'

export interface Placed {
  key: string
  layout: Layout
}

/** usePlaces returns the places of a graph's parts; those of the graph before while they are being found. */
export function usePlaces(g: Graph): Placed | undefined {
  const [placed, setPlaced] = useState<Placed>()
  const worker = useRef<Worker>()
  const key = shapeOf(g)
  const wanted = useRef(key)
  wanted.current = key
  useEffect(() => {
    const take = (p: Placed) => {
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
