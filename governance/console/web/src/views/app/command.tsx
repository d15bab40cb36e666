// The charts of one command, on one time axis, and the ways from them.
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { link, useAddress } from '~/app/address'
import { can } from '~/app/session'
import { words as shared } from '~/app/words'
import { TimeChart } from '~/charts/TimeChart'
import type { ChartSeries } from '~/charts/types'
import { lang } from '~/i18n'
import * as format from '~/i18n/format'
import { Badge, Button, Card, Notice } from '~/ui/basic'
import { States } from '~/ui/circuit'
import type { Chosen, CommandTotal, Place } from './commands'
import { useCommand } from './data'
import { momentOf } from './marks'
import { countOf, errorPercent, peak, presentOutcomes, quiet, refusedPercent, slowPercent, type Outcome, type Point } from './series'
import { words as w } from './words'

const look: Record<Outcome, Pick<ChartSeries, 'color' | 'dash' | 'fill'>> = {
  success: { color: '--c3', fill: true },
  failure: { color: '--bad' },
  timeout: { color: '--c2', dash: true },
  rejected: { color: '--c6' },
  shortCircuited: { color: '--c4', dash: true },
  switched: { color: '--forced' },
  ignored: { color: '--c8' },
  canceled: { color: '--c8', dash: true },
  fallback: { color: '--c7', dash: true },
}

export function Command(props: Place & { series: Chosen; total: CommandTotal | undefined }) {
  const { app, series, total, range } = props
  const address = useAddress()
  const instance = address.get('instance')
  const data = useCommand({ ...props, instance })
  const box = useRef<HTMLDivElement>(null)
  // It was chosen from a table below.
  useEffect(() => {
    if (box.current && box.current.getBoundingClientRect().top < 0) box.current.scrollIntoView()
  }, [])
  const [ns] = app.split('/')
  // Who serves the command; what is called from here may have no name here.
  const provider = series.at === 'caller' ? series.peer : app
  return (
    <div ref={box} class="command-card">
      <Card
        title={
          <span class="row tight">
            <code>{series.command}</code>
            <span class="muted side">{series.at === 'caller' ? series.peer ? w('callsPeer', { peer: series.peer }) : w('callsOther') : w('servedHere')}</span>
            {total && <States states={total.states} />}
            {data.live && (
              <Badge tone="ok" icon="dot">
                {w('liveSeconds')}
              </Badge>
            )}
            {!data.live && data.step > 0 && <span class="muted side">{w('every', { step: format.span(data.step) })}</span>}
          </span>
        }
        actions={
          <>
            <select class="select instance" aria-label={w('instance')} value={instance ?? ''} onChange={(e) => address.set({ instance: e.currentTarget.value })}>
              <option value="">{w('merged')}</option>
              {data.instances.map((i) => (
                <option key={i.id} value={i.id}>
                  {i.name}
                </option>
              ))}
            </select>
            {provider !== undefined && can('operator', ns) && (
              <>
                <Link class="btn small danger" href={link('/switches', { pull: `${provider}/${series.command}`, at: series.at === 'caller' ? 'caller' : undefined, from: series.at === 'caller' ? app : undefined })}>
                  {w('pullSwitch')}
                </Link>
                <Link class="btn small" href={link('/policies/new', { app: provider, command: series.command, at: series.at === 'caller' ? 'caller' : undefined, from: series.at === 'caller' ? app : undefined })}>
                  {w('newPolicy')}
                </Link>
              </>
            )}
            <Link class="btn small" href={address.with({ tab: 'explain', command: series.command, at: series.at, peer: series.peer })}>
              {shared('explain')}
            </Link>
            <Button small kind="plain" icon="close" label={w('close')} onClick={() => address.set({ command: undefined, at: undefined, peer: undefined, instance: undefined })} />
          </>
        }
      >
        {data.error && (
          <Notice tone="warn" live action={<Button small onClick={data.retry}>{shared('retry')}</Button>}>
            {data.error.detail}
          </Notice>
        )}
        {data.waits && !data.error && <Notice tone="warn">{w('liveWaits')}</Notice>}
        {data.cut && <Notice tone="warn">{shared('cut')}</Notice>}
        {data.points.some((p) => p.lossy) && <Notice tone="info">{w('lossyTime')}</Notice>}
        <Charts app={app} series={series} data={data} range={range} />
      </Card>
    </div>
  )
}

type Data = ReturnType<typeof useCommand>

function Charts({ app, series, data }: { app: string; series: Chosen; data: Data; range: Place['range'] }) {
  const address = useAddress()
  const { points, from, to, step } = data
  const lines = useMemo(() => linesOf(points), [points, lang.value])
  const zoom = (a: number, b: number) => address.set({ range: undefined, from: a * 1000, to: b * 1000 })
  const near = (time: number) => points.findLast((p) => p.time <= time + p.step / 2) ?? points[0]
  const pick = (more: (p: Point) => Parameters<typeof momentOf>[4]) => (time: number) => {
    const p = near(time)
    address.go(momentOf(app, series.command, p && Math.abs(p.time - time) <= 2 * step ? p.time : time, step, p ? more(p) : {}))
  }
  const common = { from, to, step: Math.max(step, 1), bands: data.bands, sync: 'command', onZoom: zoom }
  // What could not be read is not nothing.
  const unread = data.loading ? shared('loading') : data.error && points.length === 0 ? w('unread') : undefined
  return (
    <div class="charts" aria-busy={data.loading}>
      <Peaks app={app} series={series} points={points} step={step} from={from} to={to} />
      <TimeChart {...common} title={w('chartCalls')} times={lines.times} series={lines.calls} format={format.rate} height={170} marks={data.marks} onPick={pick(() => ({}))} empty={unread ?? w('noCalls')} />
      <TimeChart {...common} title={w('chartLatency')} times={lines.times} series={lines.latency} format={format.ms} height={150} onPick={pick((p) => ({ minMs: p.p90 }))} empty={unread ?? w('noneRan')} />
      <TimeChart {...common} title={w('chartErrors')} times={lines.times} series={lines.errors} format={format.percent} height={110} onPick={pick(() => ({ error: true }))} empty={unread ?? w('noCalls')} />
      <TimeChart {...common} title={w('chartInFlight')} times={lines.times} series={lines.inFlight} format={format.count} height={90} onPick={pick(() => ({}))} empty={unread ?? w('noCalls')} />
      <p class="muted note">
        {w('pickHint')} {w('gapsNote')}
      </p>
    </div>
  )
}

/** linesOf makes the lines of all charts of a command. */
function linesOf(points: readonly Point[]) {
  const all = quiet(points)
  const value = (of: (p: Point) => number | null | undefined) => all.map((p) => of(p) ?? null)
  const line = (label: string, color: string, of: (p: Point) => number | null | undefined, more: Partial<ChartSeries> = {}): ChartSeries => ({ label, color, values: value(of), ...more })
  const slow = all.some((p) => (p.counts.slow ?? 0) > 0)
  return {
    times: all.map((p) => p.time),
    calls: presentOutcomes(points).map((o): ChartSeries => ({ label: w(`outcome.${o}`), ...look[o], values: value((p) => countOf(p.counts, o) / p.step) })),
    latency: [line(w('p50'), '--c1', (p) => p.p50), line(w('p90'), '--c5', (p) => p.p90), line(w('p99'), '--c2', (p) => p.p99), line(w('max'), '--c8', (p) => p.max, { dash: true })],
    errors: [
      line(w('errorRate'), '--bad', (p) => errorPercent(p.counts), { fill: true }),
      line(w('refusedRate'), '--forced', (p) => refusedPercent(p.counts), { dash: true }),
      ...(slow ? [line(w('slowRate'), '--c6', (p) => slowPercent(p.counts))] : []),
    ],
    inFlight: [line(w('inFlight'), '--c1', (p) => p.inFlight, { fill: true }), line(w('instances'), '--c8', (p) => p.instances, { dash: true })],
  }
}

/** Peaks lead from the worst moments to the traces behind them. */
function Peaks({ app, series, points, step, from, to }: { app: string; series: Chosen; points: readonly Point[]; step: number; from: number; to: number }) {
  const slow = peak(points, (p) => p.max)
  const bad = peak(points, (p) => errorPercent(p.counts))
  return (
    <nav class="row tight peaks" aria-label={w('ways')}>
      {slow && (
        <Link class="btn small" href={momentOf(app, series.command, slow.point.time, step, { minMs: slow.point.p90 ?? slow.value })}>
          {w('slowest', { max: format.ms(slow.value), time: format.time(slow.point.time * 1000) })}
        </Link>
      )}
      {bad && (
        <Link class="btn small" href={momentOf(app, series.command, bad.point.time, step, { error: true })}>
          {w('mostErrors', { percent: format.percent(bad.value), time: format.time(bad.point.time * 1000) })}
        </Link>
      )}
      <Link class="btn small plain" href={link('/traces', { app, command: series.command, from: Math.floor(from * 1000), to: Math.ceil(to * 1000) })}>
        {w('allTraces')}
      </Link>
    </nav>
  )
}
