// A chart over time: lines with gaps where nothing is known, states behind them,
// marks above them, one cursor for charts that belong together. All that the mouse
// does can be done by keys.
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { dark } from '~/app/theme'
import { bandLetter, bandLook, present } from '~/charts/bands'
import '~/charts/charts.css'
import { deedOf, moved } from '~/charts/keys'
import { Marks } from '~/charts/Marks'
import { axisLeft, axisRight, dataOf, edge, plotOptions, shapeOf } from '~/charts/plot'
import { zoomed } from '~/charts/scale'
import { summaries } from '~/charts/summary'
import type { TimeChartProps } from '~/charts/types'
import { w } from '~/charts/words'
import { lang } from '~/i18n'
import * as format from '~/i18n/format'

type SetCursor = (at: { left: number; top: number }, fire: boolean, publish: boolean) => void

export function TimeChart(props: TimeChartProps) {
  const p = useRef(props)
  p.current = props
  const id = useId()
  const box = useRef<HTMLDivElement>(null)
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot>()
  const values = useRef<(HTMLElement | null)[]>([])
  const moment = useRef<HTMLElement>(null)
  const at = useRef<number>()
  const [width, setWidth] = useState(0)
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set())
  const shape = shapeOf(props)
  const right = props.series.some((s) => s.scale === 'right')
  const data = useMemo(() => dataOf(props), [props.times, props.series, props.step])
  const dataNow = useRef(data)
  dataNow.current = data
  const anything = props.series.some((s) => s.values.some((v) => v !== null && v !== undefined))

  const write = (v: number | null | undefined, i: number) => {
    if (v === null || v === undefined) return '–'
    const s = p.current.series[i]
    return (s?.scale === 'right' ? (p.current.formatRight ?? p.current.format) : p.current.format)(v)
  }
  const has = (i: number) => dataNow.current.slice(1).some((c) => c[i] !== null && c[i] !== undefined)

  // Written into the page directly: the cursor moves more often than a component should render.
  const tell = (i: number | undefined) => {
    at.current = i
    const d = dataNow.current
    const row = i ?? lastRow(d, has)
    p.current.series.forEach((_, k) => {
      const el = values.current[k]
      if (el) el.textContent = write(row === undefined ? null : d[k + 1]?.[row], k)
    })
    const t = row === undefined ? undefined : d[0][row]
    if (moment.current) moment.current.textContent = t === undefined ? '' : i === undefined ? `${format.time(t * 1000)} (${w('latest')})` : format.time(t * 1000)
    const el = host.current
    if (!el) return
    el.setAttribute('aria-valuenow', String(Math.round(t ?? p.current.to)))
    el.setAttribute('aria-valuetext', t === undefined ? w('noData') : `${format.time(t * 1000)}: ${p.current.series.map((s, k) => `${s.label} ${write(row === undefined ? null : d[k + 1]?.[row], k)}`).join(', ')}`)
  }

  useLayoutEffect(() => {
    const el = box.current
    if (!el) return
    setWidth(el.clientWidth)
    const watch = new ResizeObserver(() => setWidth(el.clientWidth))
    watch.observe(el)
    return () => watch.disconnect()
  }, [])

  // The canvas knows neither theme nor language: it is made anew for both.
  const ready = width > 0
  useLayoutEffect(() => {
    if (!ready || !host.current) return
    const u = new uPlot(
      plotOptions(p.current, width, () => p.current, {
        cursor: tell,
        zoom: (from, to) => p.current.onZoom?.(from, to),
      }),
      dataNow.current,
      host.current,
    )
    plot.current = u
    p.current.series.forEach((s, i) => hidden.has(s.label) && u.setSeries(i + 1, { show: false }, false))
    let down = -1
    const press = (e: MouseEvent) => (down = e.clientX)
    const click = (e: MouseEvent) => {
      if (Math.abs(e.clientX - down) < 6) p.current.onPick?.(u.posToVal(e.clientX - u.over.getBoundingClientRect().left, 'x'))
    }
    u.over.addEventListener('mousedown', press)
    u.over.addEventListener('click', click)
    tell(undefined)
    return () => {
      plot.current = undefined
      u.destroy()
    }
  }, [ready, shape, dark.value, lang.value])

  useLayoutEffect(() => {
    const u = plot.current
    if (u && width > 0 && u.width !== width) u.setSize({ width, height: u.height })
  }, [width])

  useLayoutEffect(() => {
    const u = plot.current
    if (!u) return
    u.setData(data, false)
    u.setScale('x', { min: props.from, max: props.to })
    tell(at.current !== undefined && at.current < data[0].length ? at.current : undefined)
  }, [data, props.from, props.to, props.bands, props.marks])

  useEffect(() => {
    props.series.forEach((s, i) => {
      const line = plot.current?.series[i + 1]
      if (line && line.show === hidden.has(s.label)) plot.current?.setSeries(i + 1, { show: !hidden.has(s.label) }, false)
    })
  }, [hidden, shape])

  const point = (i: number | undefined) => {
    const u = plot.current
    if (!u) return
    const t = i === undefined ? undefined : dataNow.current[0][i]
    const place = t === undefined ? { left: -10, top: -10 } : { left: u.valToPos(t, 'x'), top: 10 }
    ;(u.setCursor as SetCursor)(place, true, true)
    tell(i)
  }

  function key(e: KeyboardEvent) {
    const deed = deedOf(e)
    const d = dataNow.current
    if (!deed) return
    if ('move' in deed) point(moved(at.current, deed.move, d[0].length, has))
    else if ('end' in deed) point(deed.end === 'first' ? moved(undefined, 1, d[0].length, has) : lastRow(d, has))
    else if ('zoom' in deed && props.onZoom) props.onZoom(...zoomed(props.from, props.to, at.current === undefined ? (props.from + props.to) / 2 : d[0][at.current]!, deed.zoom, 10 * props.step))
    else if ('pick' in deed && props.onPick && at.current !== undefined) props.onPick(d[0][at.current]!)
    else if ('leave' in deed) point(undefined)
    else return
    e.preventDefault()
  }

  const states = present(props.bands ?? [], props.from, props.to)
  return (
    <figure class="chart" ref={box} aria-labelledby={`${id}t`}>
      <figcaption class="row">
        <span id={`${id}t`} class="title">
          {props.title}
        </span>
        <span class="muted num moment" ref={moment} aria-hidden="true" />
      </figcaption>
      {(props.marks?.length ?? 0) > 0 && width > 0 && <Marks marks={props.marks!} from={props.from} to={props.to} width={width} left={axisLeft} right={right ? axisRight : edge} />}
      <div class="plot">
        <div
          ref={host}
          class={`canvas ${props.onPick ? 'picks' : ''}`}
          role="slider"
          tabIndex={0}
          aria-label={props.title}
          aria-describedby={`${id}k`}
          aria-valuemin={Math.round(props.from)}
          aria-valuemax={Math.round(props.to)}
          aria-valuenow={Math.round(props.to)}
          onKeyDown={key}
          onBlur={() => point(undefined)}
        />
        {!anything && <p class="nothing muted">{props.empty ?? w('noData')}</p>}
      </div>
      <ul class="lines" aria-label={w('legend', { title: props.title })}>
        {props.series.map((s, i) => (
          <li key={s.label}>
            <button type="button" aria-pressed={!hidden.has(s.label)} onClick={() => setHidden(toggled(hidden, s.label))}>
              <i class={`swatch ${s.dash ? 'dash' : ''}`} style={{ borderColor: `var(${s.color})` }} aria-hidden="true" />
              <span>{s.label}</span>
              <b class="num" ref={(el) => void (values.current[i] = el)} />
            </button>
          </li>
        ))}
        {states.map((b) => (
          <li key={b.state} class="band">
            <i class={`hatch ${bandLook(b.state).hatch}`} style={{ color: `var(${bandLook(b.state).color})` }} aria-hidden="true">
              {bandLetter(b.state)}
            </i>
            <span>{b.label}</span>
          </li>
        ))}
      </ul>
      <div class="sr" id={`${id}k`}>
        {w('keys')}
      </div>
      <Words {...props} />
    </figure>
  )
}

/** Words tells what the chart shows to those who do not see it. */
function Words(props: TimeChartProps) {
  const all = summaries(props.times, props.series)
  return (
    <div class="sr">
      <table>
        <caption>{props.title}</caption>
        <thead>
          <tr>
            <th scope="col">{w('line')}</th>
            <th scope="col">{w('last')}</th>
            <th scope="col">{w('least')}</th>
            <th scope="col">{w('most')}</th>
          </tr>
        </thead>
        <tbody>
          {all.map((s, i) => {
            const f = props.series[i]?.scale === 'right' ? (props.formatRight ?? props.format) : props.format
            const say = (v: number | undefined) => (v === undefined ? w('noValue') : f(v))
            return (
              <tr key={s.label}>
                <th scope="row">{s.label}</th>
                <td>{say(s.last)}</td>
                <td>{say(s.least)}</td>
                <td>{s.mostAt === undefined ? say(s.most) : w('at', { value: say(s.most), time: format.time(s.mostAt * 1000) })}</td>
              </tr>
            )
          })}
        </tbody>
      </table>
      {(props.bands ?? []).length > 0 && (
        <ul aria-label={w('states')}>
          {props.bands!.map((b, i) => (
            <li key={i}>{w('during', { state: b.label, from: format.time(b.from * 1000), to: format.time(b.to * 1000) })}</li>
          ))}
        </ul>
      )}
    </div>
  )
}

function lastRow(d: uPlot.AlignedData, has: (i: number) => boolean): number | undefined {
  for (let i = d[0].length - 1; i >= 0; i--) if (has(i)) return i
  return undefined
}

function toggled(set: ReadonlySet<string>, name: string): ReadonlySet<string> {
  const next = new Set(set)
  if (!next.delete(name)) next.add(name)
  return next
}
