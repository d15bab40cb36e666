// Overview: what an operator opens at three in the morning. What needs a person
// comes first, what was changed beside it, and how everything is below, in sight.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { link, useOpened } from '~/app/address'
import { words as common } from '~/app/words'
import * as format from '~/i18n/format'
import { say } from '~/said'
import { Button, Card } from '~/ui/basic'
import { errorsBad, errorsWarn } from '~/ui/condition'
import { Page } from '~/ui/page'
import { Loaded, Loading } from '~/ui/state'
import { Ago } from '~/ui/time'
import { sayChange } from './attention'
import { HealthGrid } from './grid'
import { Needed } from './needed'
import './overview.css'
import { words as w } from './words'

const firstChanges = 4

export default function Overview() {
  const query = useGet('/api/v1/overview', undefined, { every: 5000 })
  return (
    <Page title={w('title')}>
      {query.data ? <Totals t={query.data.totals} old={query.error !== null} /> : query.error ? null : <p class="totals">{common('loading')}</p>}
      <div class="topmost">
        <Card title={w('attention')} flush>
          <Loaded query={query} loading={<Waiting />}>
            {(d) => <Needed items={d.attention} more={d.more ?? 0} />}
          </Loaded>
        </Card>
        <Card title={w('changes')} flush actions={<Link href={link('/audit', { range: '1h' })}>{w('changesAll')}</Link>}>
          {query.data ? <Changes items={query.data.changes} now={query.data.now} /> : query.error ? null : <Waiting />}
        </Card>
      </div>
      <HealthGrid />
    </Page>
  )
}

function Waiting() {
  return (
    <div class="body">
      <Loading />
    </div>
  )
}

interface Change {
  time: string
  kind: string
  actor?: string
  reason?: string
  object: string
  text: string
  link: string
}

function Changes({ items, now }: { items: readonly Change[]; now: string }) {
  const [all, turn] = useOpened('open', 'changes')
  const shown = all ? Infinity : firstChanges
  const since = Date.parse(now) - 3_600_000
  const recent = items.filter((c) => Date.parse(c.time) >= since)
  if (recent.length === 0) return <p class="calm muted">{w('changesNone')}</p>
  return (
    <>
      <ul class="changes bounded">
        {recent.slice(0, shown).map((c, i) => {
          const said = sayChange(c)
          return (
            <li key={`${c.time} ${i}`}>
              <span class="said">
                {said && <span>{said}</span>}
                <Link href={c.link}>{said ? say(c.object.replace(/^(policy|switch|route) /, '')) : say(c.text)}</Link>
              </span>
              <Ago at={c.time} />
              <span class="muted why">{w('changesBy', { actor: c.actor ?? '–', reason: c.reason || w('noReason') })}</span>
            </li>
          )
        })}
      </ul>
      {recent.length > shown && (
        <div class="rest">
          <Button small onClick={turn}>
            {common('more', { n: recent.length - shown })}
          </Button>
        </div>
      )}
    </>
  )
}

interface TotalsOf {
  apps: number
  registered: number
  instances: number
  rate?: number
  errorPercent?: number
  openCircuits?: number
  pulledSwitches: number
  routes: number
  gateways: number
}

function Totals({ t, old }: { t: TotalsOf; old: boolean }) {
  const open = t.openCircuits
  const entries: [to: string, value: string, label: string, tone?: string][] = [
    ['/apps', format.count(t.apps), w('apps', { n: t.apps })],
    ['/apps', format.count(t.instances), w('instances', { n: t.instances })],
    ['/topology', format.rate(t.rate), w('rate')],
    ['/apps', format.percent(t.errorPercent), w('errors'), (t.errorPercent ?? 0) >= errorsBad ? 'bad' : (t.errorPercent ?? 0) >= errorsWarn ? 'warn' : undefined],
    [link('/events', { kind: 'transition' }), format.count(open), w('openCircuits', { n: open ?? 0 }), open ? 'bad' : undefined],
    ['/switches', format.count(t.pulledSwitches), w('pulled', { n: t.pulledSwitches }), t.pulledSwitches ? 'forced' : undefined],
    ['/registry', format.count(t.registered), w('registered')],
    ['/routes', format.count(t.routes), w('routes', { n: t.routes })],
    ['/system', format.count(t.gateways), w('gateways', { n: t.gateways })],
  ]
  return (
    <ul class={`totals ${old ? 'old' : ''}`} aria-label={w('totals')}>
      {entries.map(([to, value, label, tone]) => (
        <li key={label}>
          <Link href={to}>
            <strong class={`num ${tone ? `${tone}-text` : ''}`}>{value}</strong> {label}
          </Link>
        </li>
      ))}
    </ul>
  )
}
