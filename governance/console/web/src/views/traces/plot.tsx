import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Schemas } from '~/api/client'
import { useAddress, type Range } from '~/app/address'
import * as format from '~/i18n/format'
import { Button, Card } from '~/ui/basic'
import { linear, logarithmic, nearest, points, timeTicks, type PointKind } from './scatter'
import { words as w } from './words'

type Trace = Schemas['TracingQueryTraceSummary']

const height = 190
const pad = { left: 58, right: 12, top: 10, bottom: 22 }
const kinds = { ok: 'kindOk', error: 'kindError', refused: 'kindRefused' } as const

/** Mark is one trace: what went wrong is told by its shape too. */
function Mark({ kind, x, y, hot }: { kind: PointKind; x: number; y: number; hot?: boolean }) {
  const r = hot ? 6 : 4
  const at = `${kind} ${hot ? 'hot' : ''}`
  if (kind === 'error') return <path class={at} d={`M${x - r} ${y - r}l${2 * r} ${2 * r}M${x + r} ${y - r}l${-2 * r} ${2 * r}`} />
  if (kind === 'refused') return <path class={at} d={`M${x} ${y - r - 1}l${r + 1} ${r + 1}l${-r - 1} ${r + 1}l${-r - 1} ${-r - 1}z`} />
  return <circle class={at} cx={x} cy={y} r={r - 0.5} />
}

/** Plot shows traces by time and duration. Everything it tells stands in the list as well. */
export function Plot({ traces, range, hot, setHot }: { traces: readonly Trace[]; range: Range; hot?: string; setHot: (id: string | undefined) => void }) {
  const address = useAddress()
  const ref = useRef<SVGSVGElement>(null)
  const [width, setWidth] = useState(800)
  const isLog = address.get('scale') !== 'linear'
  useEffect(() => {
    const el = ref.current
    if (!el) return
    const seen = new ResizeObserver((all) => setWidth(Math.max(240, Math.round(all[0]?.contentRect.width ?? 800))))
    seen.observe(el)
    return () => seen.disconnect()
  }, [])
  const inner = { w: width - pad.left - pad.right, h: height - pad.top - pad.bottom }
  const plot = useMemo(() => {
    const all = traces.map((t) => t.duration)
    const most = Math.max(1, ...all)
    const y = isLog ? logarithmic(Math.min(most, ...all.filter((d) => d > 0)), most) : linear(most)
    // A range that ends now may end before what came meanwhile.
    const to = traces.reduce((m, t) => Math.max(m, t.start / 1e6), range.to)
    const from = traces.reduce((m, t) => Math.min(m, t.start / 1e6), range.from)
    const placed = points(traces, { from, to }, y).map((p) => ({ ...p, x: pad.left + p.x * inner.w, y: pad.top + (1 - p.y) * inner.h }))
    return { y, from, to, placed }
  }, [traces, range.from, range.to, isLog, inner.w, inner.h])
  const marks = useMemo(() => plot.placed.map((p, i) => <Mark key={traces[i]!.traceId} {...p} />), [plot, traces])
  const zone = -new Date(plot.from * 1000).getTimezoneOffset() * 60
  const ticks = timeTicks(plot.from, plot.to, Math.max(2, Math.floor(inner.w / 110)), zone)
  const at = hot === undefined ? -1 : traces.findIndex((t) => t.traceId === hot)
  const shown = traces[at]
  const place = plot.placed[at]
  const find = (e: MouseEvent) => {
    const box = ref.current!.getBoundingClientRect()
    return traces[nearest(plot.placed, e.clientX - box.left, e.clientY - box.top)]
  }
  const long = plot.to - plot.from > 86_400
  return (
    <Card
      title={w('plot')}
      actions={
        <div class="segmented" role="group" aria-label={w('scale')}>
          <Button small aria-pressed={isLog} onClick={() => address.set({ scale: undefined }, { replace: true })}>
            {w('log')}
          </Button>
          <Button small aria-pressed={!isLog} onClick={() => address.set({ scale: 'linear' }, { replace: true })}>
            {w('linear')}
          </Button>
        </div>
      }
    >
      <svg
        ref={ref}
        class={`trace-plot ${at >= 0 ? 'over' : ''}`}
        width="100%"
        height={height}
        role="img"
        aria-label={w('plotHelp')}
        onPointerMove={(e) => setHot(find(e)?.traceId)}
        onPointerLeave={() => setHot(undefined)}
        onClick={(e) => {
          const t = find(e)
          if (t) address.go(`/traces/${t.traceId}`)
        }}
      >
        {plot.y.ticks.map((t) => {
          const y = pad.top + (1 - plot.y.at(t)) * inner.h
          return (
            <g key={t}>
              <line class="grid" x1={pad.left} x2={width - pad.right} y1={y} y2={y} />
              <text x={pad.left - 8} y={y + 4} text-anchor="end">
                {format.ms(t / 1000)}
              </text>
            </g>
          )
        })}
        {ticks.map((t) => {
          const x = pad.left + ((t - plot.from) / Math.max(1e-6, plot.to - plot.from)) * inner.w
          return (
            <g key={t}>
              <line class="grid" x1={x} x2={x} y1={pad.top} y2={height - pad.bottom} />
              <text x={Math.min(width - 28, Math.max(pad.left, x))} y={height - 6} text-anchor="middle">
                {moment(t, long, plot.to - plot.from)}
              </text>
            </g>
          )
        })}
        {marks}
        {place && <Mark kind={place.kind} x={place.x} y={place.y} hot />}
      </svg>
      <div class="row tight trace-legend">
        {(Object.keys(kinds) as PointKind[]).map((k) => (
          <span key={k} class="row tight">
            <svg class="trace-plot" width="14" height="14" aria-hidden="true">
              <Mark kind={k} x={7} y={7} />
            </svg>
            {w(kinds[k])}
          </span>
        ))}
        <span class="push num cut" aria-hidden="true">
          {shown && `${format.time(shown.start / 1000)} · ${format.ms(shown.duration / 1000)} · ${shown.root.service} ${shown.root.name}`}
        </span>
      </div>
    </Card>
  )
}

function moment(seconds: number, withDay: boolean, length: number): string {
  const d = new Date(seconds * 1000)
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${two(d.getMonth() + 1)}-${two(d.getDate())}`
  const clock = `${two(d.getHours())}:${two(d.getMinutes())}${length < 300 ? `:${two(d.getSeconds())}` : ''}`
  if (!withDay) return clock
  return clock === '00:00' ? day : `${day} ${clock}`
}
