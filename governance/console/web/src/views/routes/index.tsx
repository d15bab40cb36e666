import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { canSomewhere } from '~/app/session'
import * as format from '~/i18n/format'
import { Badge, Button, Card, Notice } from '~/ui/basic'
import { FilterInput, matches } from '~/ui/field'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { useChecked, useStatus } from '~/views/routes/data'
import { Circuits, EndpointsOf, GatewaysOf, Goes, Takes, Troubles } from '~/views/routes/parts'
import { routePath, tracesOf } from '~/views/routes/route'
import { matchWords, upstreamText } from '~/views/routes/say'
import { callableShare, rowsOf, worstFirst, type Row } from '~/views/routes/status'
import { t } from '~/views/routes/words'
import '~/views/routes/routes.css'

export default function Routes() {
  const address = useAddress()
  const list = useGet('/api/v1/routes', { query: { limit: 10_000 } })
  const status = useStatus()
  const checked = useChecked(list.data?.items, list.data?.revision)
  const may = canSomewhere('operator')
  return (
    <Page
      title={t('title')}
      lead={t('lead')}
      actions={
        <>
          <Link class="btn" href="/routes/explain">
            {t('explain')}
          </Link>
          {may && (
            <Link class="btn primary" href="/routes/new">
              {t('newRoute')}
            </Link>
          )}
        </>
      }
    >
      <Loaded
        query={list}
        isEmpty={(d) => d.items.length === 0}
        empty={
          <Card>
            <Empty title={t('none')} icon="routes" action={may && <Link class="btn primary" href="/routes/new">{t('newRoute')}</Link>}>
              {t('noneHint')}
            </Empty>
          </Card>
        }
      >
        {(data) => {
          const rows = worstFirst(rowsOf(data.items, status.data?.items, checked.data))
          const [q, only, ns] = [address.get('q'), address.get('only'), address.get('ns')]
          const shown = rows.filter(
            (r) =>
              (only === 'problems' ? r.troubles.length > 0 : only === 'disabled' ? r.route.disabled === true : true) &&
              (!ns || r.route.namespace === ns) &&
              matches(q, r.key, matchWords(r.route), upstreamText(r.route), ...r.troubles.map((x) => x.word)),
          )
          const troubled = rows.filter((r) => r.troubles.some((x) => x.tone !== 'warn' || x.kind !== 'held')).length
          const namespaces = [...new Set(rows.map((r) => r.route.namespace))]
          return (
            <>
              {troubled > 0 && only !== 'problems' && (
                <Notice tone="warn" action={<Link class="btn small" href={address.with({ only: 'problems' })}>{t('onlyProblems')}</Link>}>
                  {t('problems', { n: troubled, all: rows.length })}
                </Notice>
              )}
              {status.error && !status.data && <Notice tone="warn">{t('noStatus', { why: status.error.detail })}</Notice>}
              {checked.error && <Notice tone="warn">{t('notChecked', { why: checked.error.detail })}</Notice>}
              {checked.data?.unfinished && <Notice>{t('unfinished')}</Notice>}
              {data.next && <Notice>{t('more')}</Notice>}
              <Card
                flush
                title={t('count', { n: shown.length })}
                actions={
                  <>
                    <select class="select rt-select" aria-label={t('only')} value={only ?? ''} onChange={(e) => address.set({ only: e.currentTarget.value })}>
                      <option value="">{t('onlyAll')}</option>
                      <option value="problems">{t('onlyProblems')}</option>
                      <option value="disabled">{t('onlyDisabled')}</option>
                    </select>
                    {namespaces.length > 1 && (
                      <select class="select rt-select" aria-label={t('namespaces')} value={ns ?? ''} onChange={(e) => address.set({ ns: e.currentTarget.value })}>
                        <option value="">{t('allNamespaces')}</option>
                        {namespaces.map((n) => (
                          <option key={n}>{n}</option>
                        ))}
                      </select>
                    )}
                    <FilterInput placeholder={t('filter')} />
                  </>
                }
              >
                <Table
                  label={t('title')}
                  columns={columns()}
                  rows={shown}
                  rowKey={(r) => r.key}
                  empty={
                    <Empty title={t('noMatch')} action={<Button onClick={() => address.set({ q: undefined, only: undefined, ns: undefined })}>{t('showAll')}</Button>}>
                      {t('noMatchHint')}
                    </Empty>
                  }
                />
              </Card>
              <p class="muted">{t('last60')}</p>
            </>
          )
        }}
      </Loaded>
    </Page>
  )
}

function columns(): Column<Row>[] {
  return [
    {
      key: 'name',
      label: t('colRoute'),
      sort: (r) => r.key,
      class: 'name',
      cell: (r) => (
        <span class="rt-takes">
          <span class="row tight">
            <Link href={routePath(r.key)}>
              <strong>{r.key}</strong>
            </Link>
            {r.route.disabled && <Badge>{t('disabled')}</Badge>}
            <Troubles troubles={r.troubles} />
          </span>
          <Takes route={r.route} />
        </span>
      ),
    },
    { key: 'upstream', label: t('colUpstream'), sort: (r) => upstreamText(r.route), cell: (r) => <Goes route={r.route} /> },
    { key: 'rate', label: t('colRate'), end: true, sort: (r) => r.status?.rate, cell: (r) => (r.status?.rate === undefined ? '–' : <Link href={routePath(r.key)}>{format.rate(r.status.rate)}</Link>) },
    {
      key: 'errors',
      label: t('colErrors'),
      end: true,
      sort: (r) => r.status?.errorPercent,
      cell: (r) =>
        r.status?.rate ? (
          <Link class={r.status.errorPercent ? 'bad-text' : undefined} href={tracesOf(r.key, { range: '15m', error: r.status.errorPercent ? 'true' : undefined })}>
            {format.percent(r.status.errorPercent)}
          </Link>
        ) : (
          <span class="muted">–</span>
        ),
    },
    { key: 'p99', label: t('colP99'), end: true, sort: (r) => r.status?.p99Ms, cell: (r) => format.ms(r.status?.p99Ms) },
    { key: 'circuit', label: t('colCircuit'), cell: (r) => <Circuits route={r.key} states={r.status?.states} /> },
    { key: 'endpoints', label: t('colEndpoints'), end: true, sort: (r) => callableShare(r.status), cell: (r) => (r.status ? <EndpointsOf upstreams={r.status.upstreams} /> : '–') },
    { key: 'gateways', label: t('colGateways'), end: true, sort: (r) => r.status?.serving, cell: (r) => (r.status ? <GatewaysOf status={r.status} /> : '–') },
  ]
}
