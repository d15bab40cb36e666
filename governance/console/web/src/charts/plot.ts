// What uPlot is told of a chart. It draws lines, axes and the cursor; bands and
// the lines of marks are drawn below them here.
import uPlot from 'uplot'
import { token } from '~/app/theme'
import { bandLetter, bandLook, drawBand } from '~/charts/bands'
import { lonely, split } from '~/charts/gaps'
import { timeTexts, top } from '~/charts/scale'
import type { TimeChartProps } from '~/charts/types'
import { lang } from '~/i18n'

/** Room beside the plot, in px: the same for all charts, so that charts above each other have one time axis. */
export const axisLeft = 62
export const axisRight = 62
export const edge = 20

/** What a chart tells its component. */
export interface Told {
  /** The cursor stands at this place of the data, or nowhere. */
  cursor: (at: number | undefined) => void
  zoom: (from: number, to: number) => void
}

/** dataOf is a chart's data as uPlot takes it. */
export function dataOf(p: TimeChartProps): uPlot.AlignedData {
  const { times, columns } = split(p.times, p.series.map((s) => s.values), p.step)
  return [times, ...columns]
}

/** shapeOf changes when the plot has to be made anew instead of being given other data. */
export function shapeOf(p: TimeChartProps): string {
  return JSON.stringify([p.series.map((s) => [s.label, s.color, s.fill, s.dash, s.scale]), p.height, p.sync, p.formatRight !== undefined])
}

/** plotOptions is how a chart is drawn. `now` returns the newest properties. */
export function plotOptions(p: TimeChartProps, width: number, now: () => TimeChartProps, told: Told): uPlot.Options {
  const right = p.series.some((s) => s.scale === 'right')
  const font = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif'
  const axis = { stroke: token('--chart-axis'), font, ticks: { show: false }, grid: { stroke: token('--chart-grid'), width: 1 } }
  return {
    width,
    height: p.height ?? 160,
    padding: [8, right ? 0 : edge, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true, range: () => [now().from, now().to] },
      y: { range: (_, __, max) => [0, top(max)] },
      ...(right ? { right: { range: (_: uPlot, __: number, max: number): [number, number] => [0, top(max)] } } : {}),
    },
    axes: [
      {
        ...axis,
        space: 76,
        // Days stand below the time, where there are any.
        size: (_, texts) => (texts?.some((t) => t?.includes('\n')) ? 36 : 22),
        gap: 6,
        values: (_, splits, __, ___, step) => timeTexts(splits, { step, locale: lang.peek() === 'zh' ? 'zh-CN' : 'en-GB' }),
      },
      { ...axis, size: axisLeft, gap: 6, space: 28, values: (_, splits) => once(splits.map((v) => now().format(v))) },
      ...(right ? [{ ...axis, scale: 'right', side: 1 as const, size: axisRight, gap: 6, space: 28, grid: { show: false }, values: (_: uPlot, splits: number[]) => once(splits.map((v) => (now().formatRight ?? now().format)(v))) }] : []),
    ],
    series: [
      {},
      ...p.series.map((s): uPlot.Series => {
        const color = token(s.color)
        return {
          label: s.label,
          scale: s.scale === 'right' ? 'right' : 'y',
          stroke: color,
          width: 1.5,
          ...(s.fill ? { fill: alpha(color, '22') } : {}),
          ...(s.dash ? { dash: [5, 4] } : {}),
          spanGaps: false,
          points: { show: false, size: 5, fill: color, filter: (u, i) => lonely(u.data[i]!) },
        }
      }),
    ],
    cursor: {
      y: false,
      points: { size: 6 },
      drag: { x: true, y: false, setScale: false, dist: 6 },
      // What is dragged in one chart is its own; the others only follow the cursor.
      ...(p.sync === undefined ? {} : { sync: { key: p.sync, setSeries: false, filters: { pub: (type: string) => type === 'mousemove' || type === 'mouseleave' } } }),
    },
    hooks: {
      drawClear: [(u) => below(u, now())],
      setCursor: [(u) => told.cursor(u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? undefined) : undefined)],
      setSelect: [
        (u) => {
          const { left, width: wide } = u.select
          if (wide < 6) return
          const [from, to] = [u.posToVal(left, 'x'), u.posToVal(left + wide, 'x')]
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)
          told.zoom(Math.floor(from), Math.ceil(to))
        },
      ],
    },
  }
}

function below(u: uPlot, p: TimeChartProps) {
  const { ctx, bbox } = u
  const ratio = devicePixelRatio || 1
  const place = (t: number) => Math.min(bbox.left + bbox.width, Math.max(bbox.left, u.valToPos(t, 'x', true)))
  for (const b of p.bands ?? []) {
    if (b.to < p.from || b.from > p.to) continue
    const look = bandLook(b.state)
    drawBand(ctx, { ...look, paint: token(look.color), letter: bandLetter(b.state) }, place(b.from), place(b.to), bbox.top, bbox.height, ratio)
  }
  ctx.save()
  ctx.strokeStyle = token('--chart-axis')
  ctx.globalAlpha = 0.7
  ctx.lineWidth = ratio
  ctx.setLineDash([2 * ratio, 3 * ratio])
  ctx.beginPath()
  for (const m of p.marks ?? []) {
    if (m.time < p.from || m.time > p.to) continue
    const x = Math.round(place(m.time)) + 0.5
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
  }
  ctx.stroke()
  ctx.restore()
}

/** once leaves out texts that say the same as the one before: whole numbers on a small scale. */
export function once(texts: string[]): string[] {
  return texts.map((t, i) => (t === texts[i - 1] ? '' : t))
}

/** alpha makes a colour of a token see-through, where it is written with six digits. */
function alpha(color: string, hex: string): string {
  return /^#[0-9a-f]{6}$/i.test(color) ? color + hex : color
}
