import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import * as format from '~/i18n/format'
import { formatNumber } from '~/i18n'
import { Button, Card, Notice, Stat } from '~/ui/basic'
import { Copy } from '~/ui/copy'
import { Icon } from '~/ui/icons'
import { Page } from '~/ui/page'
import { Empty, ErrorBox, Loading } from '~/ui/state'
import { currentTab, Tabs } from '~/ui/tabs'
import { Explore } from './explore'
import { likePath } from './links'
import { treeOf, type Trace } from './rows'
import { colorsOf, serviceOf, share, took } from './show'
import { Statistics } from './statistics'
import { groups } from './stats'
import { told } from './warnings'
import { words as w } from './words'
import './trace.css'

export default function TraceView({ params }: ViewProps) {
  const id = params.id ?? ''
  // Spans of a trace that is still under way come when it is read again.
  const query = useGet('/api/v1/traces/{id}', { path: { id } }, { staleTime: Infinity, keep: false, retry: false })
  const crumbs = [{ text: w('traces'), to: '/traces' }]
  const { data, error } = query
  if (data && data.spans.length > 0) return <Shown trace={data} again={() => void query.refetch()} busy={query.isFetching} />
  return (
    <Page title={w('trace', { id })} crumbs={crumbs}>
      {!error ? (
        data ? <Empty title={w('noSpans')} icon="traces" /> : <Loading lines={10} />
      ) : error.status === 404 ? (
        <Empty
          title={w('notFound')}
          icon="search"
          action={
            <div class="row tight">
              <Button onClick={() => void query.refetch()}>{w('again')}</Button>
              <Link class="btn" href="/traces">
                {w('searchInstead')}
              </Link>
            </div>
          }
        >
          {w('notFoundHint', { id })}
        </Empty>
      ) : error.status === 403 ? (
        <Empty title={w('forbidden')} icon="lock">
          {error.detail}
        </Empty>
      ) : error.late ? (
        <Empty title={w('slow')} icon="clock" action={<Button onClick={() => void query.refetch()}>{w('again')}</Button>}>
          {error.detail}
        </Empty>
      ) : (
        <ErrorBox error={error} retry={() => void query.refetch()} />
      )}
    </Page>
  )
}

function Shown({ trace, again, busy }: { trace: Trace; again: () => void; busy: boolean }) {
  const address = useAddress()
  const tree = useMemo(() => treeOf(trace.spans), [trace])
  const colors = useMemo(() => colorsOf(trace.services), [trace])
  const root = trace.spans[0]!
  const like = likePath(root)
  const tabs = [
    { key: 'waterfall', label: w('waterfall') },
    { key: 'statistics', label: w('statistics') },
  ]
  const tab = currentTab(tabs, address.get('tab'))
  return (
    <Page
      title={`${serviceOf(root.service)} ${root.name}`}
      heading={
        <>
          {serviceOf(root.service)} <span class="trace-root">{root.name}</span>
        </>
      }
      crumbs={[{ text: w('traces'), to: '/traces' }]}
      actions={
        <>
          {like && (
            <Link class="btn" href={like}>
              <Icon name="traces" size={15} /> {w('like')}
            </Link>
          )}
          <a class="btn" href={`/api/v1/traces/${encodeURIComponent(trace.traceId)}/zipkin`} download={`trace-${trace.traceId}.json`} title={w('downloadHelp')}>
            <Icon name="download" size={15} /> {w('download')}
          </a>
          <Button icon="undo" label={w('again')} busy={busy} onClick={again} />
        </>
      }
    >
      <Summary trace={trace} colors={colors} />
      <Tabs tabs={tabs} label={w('views')} />
      {tab === 'statistics' ? <Statistics trace={trace} colors={colors} /> : <Explore key={trace.traceId} trace={trace} tree={tree} colors={colors} />}
    </Page>
  )
}

function Summary({ trace, colors }: { trace: Trace; colors: ReadonlyMap<string, string> }) {
  const address = useAddress()
  const { spans, errors } = trace.services.reduce((sum, s) => ({ spans: sum.spans + s.spans, errors: sum.errors + s.errors }), { spans: 0, errors: 0 })
  const refused = useMemo(() => trace.spans.filter((s) => s.refused).length, [trace])
  const fallbacks = useMemo(() => trace.spans.filter((s) => s.fallback).length, [trace])
  const apps = useMemo(() => groups(trace.spans, 'app').filter((g) => g.critical > 0), [trace])
  const critical = apps.reduce((sum, g) => sum + g.critical, 0)
  return (
    <>
      {(trace.warnings.length > 0 || spans > trace.spans.length) && (
        <Notice tone="warn">
          <strong>{w('minding')}</strong>
          <ul>
            {trace.warnings.map((t) => (
              <li key={t}>{told(t)}</li>
            ))}
            {spans > trace.spans.length && <li>{w('leftOut', { n: spans - trace.spans.length })}</li>}
          </ul>
        </Notice>
      )}
      <Card>
        <div class="stack tight">
          <div class="stats">
            {errors > 0 && <Stat label={w('errors', { n: errors })} value={formatNumber(errors)} tone="bad" />}
            {refused > 0 && <Stat label={w('refusals', { n: refused })} value={formatNumber(refused)} tone="warn" />}
            {fallbacks > 0 && <Stat label={w('fallbacks', { n: fallbacks })} value={formatNumber(fallbacks)} tone="warn" />}
            <Stat label={w('took')} value={took(trace.duration)} />
            <Stat label={w('began')} value={<span title={format.fullTime(trace.start / 1000)}>{format.time(trace.start / 1000)}</span>} />
            <Stat label={w('spans', { n: spans })} value={formatNumber(spans)} />
            <Stat label={w('apps', { n: trace.services.length })} value={formatNumber(trace.services.length)} />
            <Stat label={w('levels', { n: trace.depth })} value={formatNumber(trace.depth)} />
            <div class="stat">
              <div class="row tight trace-hex">
                <code>{trace.traceId}</code> <Copy text={trace.traceId} label={w('copyId')} />
              </div>
              <div class="label">{w('id')}</div>
            </div>
          </div>
          {critical > 0 && (
            <div class="trace-critical">
              <h2 title={w('criticalHelp')}>{w('critical')}</h2>
              <div class="shares" aria-hidden="true">
                {apps.map((g) => (
                  <span key={g.key} style={{ width: `${(g.critical / critical) * 100}%`, background: `var(${colors.get(g.service) ?? '--c8'})` }} />
                ))}
              </div>
              <ul class="row tight">
                {apps.slice(0, 12).map((g) => (
                  <li key={g.key}>
                    <Link class="chip" href={address.with({ find: g.service, tab: undefined })} title={`${w('criticalShare', { name: serviceOf(g.service), share: share(g.critical, critical), time: took(g.critical) })}. ${w('findSpans', { name: serviceOf(g.service) })}`}>
                      <span class="swatch" style={{ background: `var(${colors.get(g.service) ?? '--c8'})` }} aria-hidden="true" />
                      {serviceOf(g.service)} <span class="num">{share(g.critical, critical)}</span> <span class="num muted">{took(g.critical)}</span>
                    </Link>
                  </li>
                ))}
              </ul>
            </div>
          )}
        </div>
      </Card>
    </>
  )
}
