import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { dark, token } from '~/app/theme'
import type { Span } from './rows'
import { panned, percent, within, type Part } from './time'
import { words as w } from './words'

const height = 56

/** paint draws every span as a line where it stands: what failed and what was refused comes last, and thicker. */
function paint(canvas: HTMLCanvasElement, spans: readonly Span[], colors: ReadonlyMap<string, string>, total: number, width: number) {
  const ratio = devicePixelRatio || 1
  canvas.width = Math.round(width * ratio)
  canvas.height = Math.round(height * ratio)
  const g = canvas.getContext('2d')
  if (!g) return
  g.scale(ratio, ratio)
  g.clearRect(0, 0, width, height)
  const row = (height - 4) / Math.max(1, spans.length)
  const drawn = new Map([...new Set(colors.values())].map((name) => [name, token(name)]))
  const line = (s: Span, i: number, color: string, least: number) => {
    g.fillStyle = color
    g.fillRect((s.start / Math.max(1, total)) * width, 2 + i * row, Math.max(1.5, (s.duration / Math.max(1, total)) * width), Math.max(least, Math.min(4, row * 0.8)))
  }
  spans.forEach((s, i) => line(s, i, drawn.get(colors.get(s.service) ?? '--c8') ?? '', 0.6))
  const [bad, forced] = [token('--bad'), token('--forced')]
  spans.forEach((s, i) => {
    if (s.error) line(s, i, bad, 2)
    else if (s.refused || s.fallback) line(s, i, forced, 2)
  })
}

type Grip = 'from' | 'to' | 'move' | 'new'

/** Minimap is the whole trace, small, with the part of the time axis that is shown. */
export function Minimap({ spans, colors, total, part, change }: { spans: readonly Span[]; colors: ReadonlyMap<string, string>; total: number; part: Part; change: (p: Part, done: boolean) => void }) {
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const [width, setWidth] = useState(0)
  const grip = useRef<{ kind: Grip; at: number; part: Part } | undefined>(undefined)
  useLayoutEffect(() => {
    const el = box.current
    if (!el) return
    const seen = new ResizeObserver(() => setWidth(el.clientWidth))
    seen.observe(el)
    setWidth(el.clientWidth)
    return () => seen.disconnect()
  }, [])
  useEffect(() => {
    if (canvas.current && width > 0) paint(canvas.current, spans, colors, total, width)
  }, [spans, colors, total, width, dark.value])
  const whole = part.from <= 0 && part.to >= total
  const at = (e: PointerEvent) => {
    const r = box.current!.getBoundingClientRect()
    return Math.min(1, Math.max(0, (e.clientX - r.left) / r.width)) * total
  }
  function down(e: PointerEvent) {
    if (e.button !== 0) return
    const on = (e.target as HTMLElement).dataset.grip as Grip | undefined
    const t = at(e)
    grip.current = { kind: on ?? (!whole && t > part.from && t < part.to ? 'move' : 'new'), at: t, part }
    box.current!.setPointerCapture(e.pointerId)
  }
  function to(e: PointerEvent): Part | undefined {
    const g = grip.current
    if (!g) return undefined
    const t = at(e)
    switch (g.kind) {
      case 'from':
        return { from: Math.min(t, g.part.to), to: g.part.to }
      case 'to':
        return { from: g.part.from, to: Math.max(t, g.part.from) }
      case 'move':
        return { from: g.part.from + t - g.at, to: g.part.to + t - g.at }
      case 'new':
        // A click that trembles chooses nothing.
        return Math.abs(t - g.at) * box.current!.clientWidth < 4 * total ? undefined : { from: Math.min(t, g.at), to: Math.max(t, g.at) }
    }
  }
  function move(e: PointerEvent) {
    const next = to(e)
    if (next) change(within(next, total), false)
  }
  function up(e: PointerEvent) {
    const next = to(e)
    grip.current = undefined
    if (next) change(within(next, total), true)
  }
  const edge = (which: 'from' | 'to') => (
    <div
      class={`edge ${which}`}
      data-grip={which}
      role="slider"
      tabIndex={0}
      aria-label={w(which === 'from' ? 'partBegin' : 'partEnd')}
      aria-valuemin={0}
      aria-valuemax={Math.round(total / 1000)}
      aria-valuenow={Math.round(part[which] / 1000)}
      aria-valuetext={`${Math.round(part[which] / 10) / 100} ms`}
      style={{ left: `${percent(part[which], { from: 0, to: total })}%` }}
      onKeyDown={(e) => {
        const step = (e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0) * (e.shiftKey ? 0.1 : 0.01) * total
        if (step === 0) return
        e.preventDefault()
        e.stopPropagation()
        change(which === 'from' ? { from: Math.min(Math.max(0, part.from + step), part.to - 10), to: part.to } : { from: part.from, to: Math.max(Math.min(total, part.to + step), part.from + 10) }, true)
      }}
    />
  )
  return (
    <div
      class="minimap"
      ref={box}
      title={w('minimap')}
      onPointerDown={down}
      onPointerMove={move}
      onPointerUp={up}
      onPointerCancel={() => (grip.current = undefined)}
      onDblClick={() => change({ from: 0, to: total }, true)}
      onWheel={(e) => {
        if (!e.shiftKey || whole) return
        e.preventDefault()
        change(panned(part, total, Math.sign(e.deltaY || e.deltaX) * 0.1), true)
      }}
    >
      <canvas ref={canvas} aria-hidden="true" style={{ width: '100%', height: `${height}px` }} />
      <div class="shade" style={{ left: 0, width: `${percent(part.from, { from: 0, to: total })}%` }} />
      <div class="shade" style={{ right: 0, width: `${100 - percent(part.to, { from: 0, to: total })}%` }} />
      {edge('from')}
      {edge('to')}
    </div>
  )
}
