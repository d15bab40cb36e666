// The plane on which the graph lies: moved by dragging, scaled by the wheel or two
// fingers, and all of it by keys and buttons.
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Button } from '~/ui/basic'
import { Loading } from '~/ui/state'
import type { Point } from './places'
import { mattering, type Graph } from './model'
import { usePlaces } from './place'
import { Arrows, sayEdge, Scene, type Chosen } from './scene'
import { fitted, moved, revealed, seen, started, zoomed, type Size, type View } from './viewport'
import { words as w } from './words'

/** Scale from which any text can be made out, from which labels of edges can be read, and how many of those are not yet a thicket. */
const legible = 0.4
const readable = 0.55
const mostLabels = 120
/** lineScale thins lines of a plane seen from far, though less than it shrinks itself: they still have to be seen. */
const lineScale = (k: number) => Math.min(1, Math.max(0.25, k * 1.4)).toFixed(2)
/** How far a pointer may move and still have clicked. */
const still = 4

export function Plane({ graph, chosen, choose }: { graph: Graph; chosen: Chosen; choose: (c: Chosen) => void }) {
  const placed = usePlaces(graph)
  const ref = useRef<SVGSVGElement>(null)
  const [frame, setFrame] = useState<Size>({ width: 0, height: 0 })
  const [view, setView] = useState<View>({ x: 0, y: 0, k: 1 })
  const plane = placed?.layout
  const fit = useCallback(() => {
    if (plane) setView(fitted(plane, frame))
  }, [plane, frame])
  /** The graph that the view is of; until there is one, nothing is drawn: all of it would be, and most for nothing. */
  const begun = useRef<string>()
  // Another graph, or another frame around it, is first seen whole, or where that is worst or chosen.
  useEffect(() => {
    if (!plane || frame.width === 0) return
    begun.current = placed?.key
    const matter = mattering(graph, chosen).flatMap((id) => plane.nodes[id] ?? [])
    setView(started(plane, frame, matter))
  }, [placed?.key, frame])

  useEffect(() => {
    const svg = ref.current
    if (!svg) return
    const sized = new ResizeObserver(() => setFrame({ width: svg.clientWidth, height: svg.clientHeight }))
    sized.observe(svg)
    const wheel = (e: WheelEvent) => {
      e.preventDefault() // which a listener of the framework's, being passive, could not
      const box = svg.getBoundingClientRect()
      const lines = e.deltaMode === 1 ? 16 : 1
      setView((v) => zoomed(v, { x: e.clientX - box.left, y: e.clientY - box.top }, Math.exp(-Math.max(-200, Math.min(200, e.deltaY * lines)) * 0.0016)))
    }
    svg.addEventListener('wheel', wheel, { passive: false })
    return () => {
      sized.disconnect()
      svg.removeEventListener('wheel', wheel)
    }
  }, [placed !== undefined])

  const { left, top, right, bottom } = seen(view, frame)
  const box = useMemo(() => ({ left, top, right, bottom }), [left, top, right, bottom])

  const pointers = useRef(new Map<number, Point>())
  const travelled = useRef(0)
  const at = (e: PointerEvent): Point => {
    const box = ref.current!.getBoundingClientRect()
    return { x: e.clientX - box.left, y: e.clientY - box.top }
  }
  function down(e: PointerEvent) {
    if (e.button !== 0) return
    pointers.current.set(e.pointerId, at(e))
    travelled.current = 0
  }
  function move(e: PointerEvent) {
    const before = pointers.current.get(e.pointerId)
    if (!before) return
    const now = at(e)
    const other = [...pointers.current].find(([id]) => id !== e.pointerId)?.[1]
    pointers.current.set(e.pointerId, now)
    travelled.current += Math.hypot(now.x - before.x, now.y - before.y)
    // Only what has become a drag holds the pointer: a click has to reach what lies below.
    if (travelled.current > still && !ref.current!.hasPointerCapture(e.pointerId)) {
      ref.current!.setPointerCapture(e.pointerId)
      ref.current!.classList.add('moving')
    }
    if (other) {
      const length = (p: Point) => Math.max(1, Math.hypot(p.x - other.x, p.y - other.y))
      setView((v) => zoomed(v, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 }, length(now) / length(before)))
    } else {
      setView((v) => moved(v, now.x - before.x, now.y - before.y))
    }
  }
  const up = (e: PointerEvent) => {
    pointers.current.delete(e.pointerId)
    if (pointers.current.size === 0) ref.current?.classList.remove('moving')
  }
  /** What an edge says is written once somebody points at it. */
  function tell(e: PointerEvent) {
    const line = (e.target as Element).closest<SVGElement>('[data-edge]')
    const edge = line && graph.edges.find((x) => x.id === line.dataset.edge)
    const title = line?.querySelector('title')
    if (edge && title) title.textContent = sayEdge(edge)
  }
  const scale = (factor: number) => setView((v) => zoomed(v, { x: frame.width / 2, y: frame.height / 2 }, factor))
  function key(e: KeyboardEvent) {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const step = 60
    const does: Record<string, () => void> = {
      ArrowLeft: () => setView((v) => moved(v, step, 0)),
      ArrowRight: () => setView((v) => moved(v, -step, 0)),
      ArrowUp: () => setView((v) => moved(v, 0, step)),
      ArrowDown: () => setView((v) => moved(v, 0, -step)),
      '+': () => scale(1.25),
      '=': () => scale(1.25),
      '-': () => scale(0.8),
      '0': fit,
      Escape: () => choose({}),
    }
    const act = does[e.key]
    if (!act) return
    e.preventDefault()
    act()
  }
  const chosenHere = useCallback(
    (c: Chosen) => {
      if (travelled.current <= still) choose(c)
    },
    [choose],
  )
  const focused = useCallback((p: Point) => {
    // What a mouse is pressed on is in sight already, and must not move away below it.
    if (pointers.current.size === 0 && ref.current) setView((v) => revealed(v, p, { width: ref.current!.clientWidth, height: ref.current!.clientHeight }, 40))
  }, [])

  if (!placed || !plane) {
    return (
      <div class="placing">
        <p class="muted">{w('placing', { n: graph.nodes.length })}</p>
        <Loading />
      </div>
    )
  }
  return (
    <div class="plane">
      <svg
        ref={ref}
        role="group"
        tabIndex={0}
        aria-label={w('graphLabel')}
        onPointerDown={down}
        onPointerMove={move}
        onPointerUp={up}
        onPointerCancel={up}
        onKeyDown={key}
        onClick={(e) => {
          if (e.target === ref.current) chosenHere({})
        }}
      >
        <Arrows />
        <g class={plane.dense ? 'all dense' : 'all'} style={{ '--zoom': lineScale(view.k), transform: `translate(${view.x.toFixed(1)}px, ${view.y.toFixed(1)}px) scale(${view.k.toFixed(4)})` }} onPointerOver={tell}>
          {begun.current === placed.key && <Scene graph={graph} layout={plane} seen={box} near={view.k >= legible} chosen={chosen} labels={view.k < legible ? 'none' : view.k >= readable && graph.edges.length <= mostLabels ? 'all' : 'alarming'} choose={chosenHere} focused={focused} />}
        </g>
      </svg>
      <div class="zoom">
        <Button small icon="plus" label={w('zoomIn')} onClick={() => scale(1.25)} />
        <Button small icon="minus" label={w('zoomOut')} onClick={() => scale(0.8)} />
        <Button small icon="fit" label={w('fit')} onClick={fit} />
      </div>
    </div>
  )
}
