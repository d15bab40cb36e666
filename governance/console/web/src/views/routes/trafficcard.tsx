// Requests of a route over time, with what was done to it.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { appPath, rangeQuery, useAddress, type Range } from '~/app/address'
import { can } from '~/app/session'
import { words } from '~/app/words'
import { TimeChart } from '~/charts/TimeChart'
import * as format from '~/i18n/format'
import { Card, Notice } from '~/ui/basic'
import { stateWord } from '~/ui/circuit'
import { Loaded } from '~/ui/state'
import { t } from '~/views/routes/onewords'
import { appOf, dubboCommand, gatewayApp, keyText, routePath, tracesOf, type Version } from '~/views/routes/route'
import { bandsOf, line, marksOf, trafficOf } from '~/views/routes/traffic'

const [namespace = '', name = ''] = gatewayApp.split('/')

export function TrafficCard({ version, versions, range }: { version: Version; versions: Version[]; range: Range }) {
  const route = version.route
  const key = keyText(route)
  const peer = appOf(route)
  const dubbo = dubboCommand(route)
  const sees = can('viewer', namespace)
  return (
    <Card
      title={t('traffic')}
      actions={
        sees && (
          <>
            <Link href={appPath(gatewayApp, { tab: 'commands', command: key, at: 'caller', peer })}>{t('commandLink')}</Link>
            {dubbo && <Link href={appPath(gatewayApp, { tab: 'commands', command: dubbo, at: 'caller', peer })}>{t('dubboLink')}</Link>}
          </>
        )
      }
    >
      {sees ? <Charts route={key} peer={peer} versions={versions} range={range} /> : <Notice>{t('hiddenTraffic', { namespace })}</Notice>}
    </Card>
  )
}

function Charts({ route, peer, versions, range }: { route: string; peer: string | undefined; versions: Version[]; range: Range }) {
  const address = useAddress()
  const query = useGet('/api/v1/apps/{namespace}/{name}/series', { path: { namespace, name }, query: { command: route, at: 'caller', ...(peer ? { peer } : {}), ...rangeQuery(range) } })
  return (
    <Loaded query={query}>
      {(data) => {
        const x = trafficOf(data)
        const marks = marksOf(
          versions,
          range.from,
          range.to,
          (v) => (v.deleted ? t('markDeleted', { actor: v.actor, reason: v.reason }) : t('mark', { revision: String(v.revision), actor: v.actor, reason: v.reason })),
          (v) => `${routePath(route)}?tab=history&b=${v.revision}`,
        )
        const shared = {
          times: x.times,
          from: range.from,
          to: range.to,
          step: x.step,
          marks,
          bands: bandsOf(data, stateWord),
          sync: `route ${route}`,
          empty: t('noTraffic'),
          onZoom: (from: number, to: number) => address.set({ range: undefined, from: Math.floor(from * 1000), to: Math.ceil(to * 1000) }),
          onPick: (time: number) => address.go(tracesOf(route, { from: Math.floor((time - x.step) * 1000), to: Math.ceil((time + 2 * x.step) * 1000) })),
        }
        return (
          <div class="stack">
            {data.cut && <Notice tone="warn">{words('cut')}</Notice>}
            <TimeChart
              {...shared}
              title={t('chartCalls')}
              format={format.rate}
              series={[line(t('calls'), x.calls, '--c1', { fill: true }), line(t('failed'), x.failed, '--bad', { dash: true }), line(t('refused'), x.refused, '--forced')]}
            />
            <TimeChart {...shared} title={t('chartLatency')} format={format.ms} series={[line(t('p50'), x.p50, '--c3'), line(t('p99'), x.p99, '--c2', { dash: true })]} />
          </div>
        )
      }}
    </Loaded>
  )
}
