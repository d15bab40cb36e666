import { useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { useRange } from '~/app/range'
import { can } from '~/app/session'
import type { ViewProps } from '~/app/views'
import * as format from '~/i18n/format'
import { Badge, Card, Notice } from '~/ui/basic'
import { Menu } from '~/ui/menu'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty, Loaded } from '~/ui/state'
import { currentTab, Tabs } from '~/ui/tabs'
import { useChecked, useStatus } from '~/views/routes/data'
import { DocumentCard } from '~/views/routes/document'
import { Endpoints, Figures, Gateways, What } from '~/views/routes/facts'
import { History } from '~/views/routes/history'
import { t } from '~/views/routes/onewords'
import { Confirmation } from '~/views/routes/plan'
import { RemoveDialog } from '~/views/routes/remove'
import { explainPath, routePath, sampleOf, tracesOf, type Version } from '~/views/routes/route'
import { troublesOf } from '~/views/routes/status'
import { TrafficCard } from '~/views/routes/trafficcard'
import { t as r } from '~/views/routes/words'
import type { Result } from '~/views/routes/write'
import '~/views/routes/routes.css'

/** One route: how it is, its document, its versions. A deleted one has its versions only. */
export default function OneRoute({ params }: ViewProps) {
  const key = { namespace: params.ns ?? '', name: params.name ?? '' }
  const name = `${key.namespace}/${key.name}`
  const history = useGet('/api/v1/routes/{namespace}/{name}/history', { path: key, query: { limit: 1000 } }, { keep: false })
  if (history.error?.status === 404) {
    return (
      <Page title={name} crumbs={[{ text: r('title'), to: '/routes' }]}>
        <Empty title={t('never', { route: name })} icon="routes" action={<Link class="btn" href="/routes">{t('toList')}</Link>} />
      </Page>
    )
  }
  const newest = history.data?.items[0]
  return newest ? (
    <Shown name={name} newest={newest} versions={history.data?.items ?? []} query={history} />
  ) : (
    <Page title={name} crumbs={[{ text: r('title'), to: '/routes' }]}>
      <Loaded query={history}>{() => null}</Loaded>
    </Page>
  )
}

function Shown({ name, newest, versions, query }: { name: string; newest: Version; versions: Version[]; query: Parameters<typeof Loaded>[0]['query'] }) {
  const address = useAddress()
  const range = useRange()
  const status = useStatus()
  const lives = !newest.deleted
  const checked = useChecked(lives ? [newest] : undefined, newest.revision)
  const [result, setResult] = useState<Result>()
  const [removing, setRemoving] = useState(false)
  const may = can('operator', newest.route.namespace)
  const mine = status.data?.items.find((s) => s.route === name)
  const key = { namespace: newest.route.namespace, name: newest.route.name }
  const findings = (checked.data?.findings ?? []).filter((f) => f.route.namespace === key.namespace && f.route.name === key.name)
  const troubles = lives ? troublesOf(newest, mine, findings, checked.data?.warnings ?? []) : []
  const tabs = [
    ...(lives ? [{ key: 'now', label: t('tabNow') }, { key: 'document', label: t('tabDocument') }] : []),
    { key: 'history', label: `${t('tabHistory')} (${versions.length})` },
  ]
  const tab = currentTab(tabs, address.get('tab'))
  return (
    <Page
      title={name}
      crumbs={[{ text: r('title'), to: '/routes' }]}
      heading={
        <span class="row tight">
          {name}
          {!lives && <Badge tone="bad">{t('deleted')}</Badge>}
          {lives && newest.route.disabled && <Badge>{r('disabled')}</Badge>}
        </span>
      }
      actions={
        lives && (
          <>
            <Link class="btn" href={explainPath(sampleOf(newest.route))}>
              {t('explain')}
            </Link>
            <Link class="btn" href={tracesOf(name, address.get('from') ? { from: address.get('from'), to: address.get('to') } : { range: address.get('range') })}>
              {t('traces')}
            </Link>
            {may && (
              <>
                <Link class="btn primary" href={routePath(name, 'edit')}>
                  {t('edit')}
                </Link>
                <Menu label={t('moreActs')} text={t('moreActs')}>
                  {(close) => (
                    <>
                      <Link href={`/routes/new?copy=${encodeURIComponent(name)}`}>{t('copy')}</Link>
                      <button
                        type="button"
                        onClick={() => {
                          close()
                          setRemoving(true)
                        }}
                      >
                        {t('remove')}
                      </button>
                    </>
                  )}
                </Menu>
              </>
            )}
          </>
        )
      }
    >
      {result && <Confirmation result={result} />}
      {!lives && (
        <Notice tone="warn">
          {t('deletedBy', { when: format.time(newest.created), actor: newest.actor, reason: newest.reason })} {t('deletedHint')}
        </Notice>
      )}
      {troubles.map((x, i) => (
        <Notice key={i} tone={x.tone === 'warn' ? 'warn' : 'bad'}>
          <strong>{x.word}.</strong> {x.text}
        </Notice>
      ))}
      {lives && <Figures route={name} status={mine} />}
      <div class="row">
        <Tabs tabs={tabs} label={t('tabs')} drop={['a', 'b']} />
        {tab === 'now' && (
          <span class="push">
            <RangePicker range={range} />
          </span>
        )}
      </div>
      <Loaded query={query}>
        {() =>
          tab === 'now' ? (
            <>
              <TrafficCard version={newest} versions={versions} range={range} />
              <div class="grid2">
                <What version={newest} />
                <div class="stack">
                  <Endpoints route={newest.route} status={mine} />
                  <Gateways name={name} revision={newest.revision} />
                </div>
              </div>
            </>
          ) : tab === 'document' ? (
            <DocumentCard version={newest} />
          ) : (
            <Card title={t('tabHistory')} flush>
              <History name={name} versions={versions} may={may} onWritten={setResult} />
            </Card>
          )
        }
      </Loaded>
      {removing && <RemoveDialog version={newest} onClose={() => setRemoving(false)} onWritten={setResult} />}
    </Page>
  )
}
