// One application: how it is now, and its commands, instances, policies and events.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { link, since, useAddress } from '~/app/address'
import { useRange } from '~/app/range'
import type { ViewProps } from '~/app/views'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { Card, Stat } from '~/ui/basic'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty } from '~/ui/state'
import { currentTab, Tabs } from '~/ui/tabs'
import './app.css'
import { Commands } from './commands'
import { Events } from './events'
import { Explain } from './explain'
import { Old, Standing, useHealth } from './health'
import { Instances } from './instances'
import { Policies } from './policies'
import { errorsBad, errorsWarn } from '~/ui/condition'
import { refusedWarn } from './standing'
import { words as w } from './words'

export default function App({ params }: ViewProps) {
  const [namespace = '', name = ''] = [params.ns, params.name]
  const app = `${namespace}/${name}`
  const address = useAddress()
  const range = useRange('15m')
  const state = useHealth()
  const { items } = state
  const h = items?.find((x) => x.app === app)
  const detail = useGet('/api/v1/apps/{namespace}/{name}', { path: { namespace, name }, query: since(range) }, { every: 5_000 })
  const tabs = [
    { key: 'commands', label: w('commands') },
    { key: 'instances', label: w('instances') },
    { key: 'policies', label: w('policies') },
    { key: 'events', label: w('events') },
    { key: 'explain', label: w('explain') },
  ]
  const tab = currentTab(tabs, address.get('tab'))
  const unknown = !h && detail.error?.status === 404
  return (
    <Page
      title={app}
      crumbs={[{ text: shared('apps'), to: '/apps' }]}
      heading={
        <span class="row tight">
          {app} {h && <Standing of={h} />}
        </span>
      }
      actions={
        <>
          <Link class="btn small" href={link('/traces', { app, range: range.name, from: range.name ? undefined : range.from * 1000, to: range.name ? undefined : range.to * 1000 })}>
            {w('toTraces')}
          </Link>
          <Link class="btn small" href={link('/topology', { app })}>
            {w('toTopology')}
          </Link>
          <Link class="btn small" href={`/registry/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`}>
            {w('toRegistry')}
          </Link>
          <RangePicker range={range} />
        </>
      }
    >
      {unknown ? (
        <Empty icon="apps" title={w('unknownApp', { app })}>
          {w('unknownAppHint')}
        </Empty>
      ) : (
        <>
          {h && <Old of={state} />}
          {h && (
            <Card>
              <p class="muted window" aria-hidden="true">
                {w('figures')}
              </p>
              <div class="stats" role="group" aria-label={w('figures')}>
                <Stat label={w('rate')} value={format.rate(h.rate)} />
                <Stat label={w('errorRate')} value={h.rate > 0 ? format.percent(h.errorPercent) : '–'} tone={h.errorPercent >= errorsBad ? 'bad' : h.errorPercent >= errorsWarn ? 'warn' : undefined} />
                <Stat label={w('refusedRate')} value={h.rate > 0 ? format.percent(h.refusedPercent) : '–'} tone={h.refusedPercent >= refusedWarn ? 'warn' : undefined} />
                <Stat label={w('p50')} value={format.ms(h.p50Ms)} />
                <Stat label={w('p99')} value={format.ms(h.p99Ms)} />
                <Stat label={w('inFlight')} value={format.count(h.inFlight)} />
                <Stat label={w('instances')} value={w('liveOf', { n: h.live })} tone={h.live === 0 ? 'warn' : undefined} />
                <Stat label={w('circuits')} value={h.open > 0 ? w('openOf', { n: h.open }) : h.forced > 0 ? w('heldOf', { n: h.forced }) : w('allClosed')} tone={h.open > 0 ? 'bad' : undefined} />
              </div>
            </Card>
          )}
          <Tabs tabs={tabs} label={w('tabs')} drop={['sort', 'csort']} />
          {tab === 'commands' && <Commands app={app} namespace={namespace} name={name} range={range} />}
          {tab === 'instances' && <Instances app={app} namespace={namespace} name={name} range={range} detail={detail} />}
          {tab === 'policies' && <Policies detail={detail} />}
          {tab === 'events' && <Events app={app} range={range} />}
          {tab === 'explain' && <Explain app={app} namespace={namespace} name={name} range={range} />}
        </>
      )}
    </Page>
  )
}
