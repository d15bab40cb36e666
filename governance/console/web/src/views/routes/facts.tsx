// What is known of one route: its figures, what it does, its endpoints, its gateways.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { appPath } from '~/app/address'
import { words as w } from '~/app/words'
import * as format from '~/i18n/format'
import { Said, say } from '~/said'
import { Badge, Card, Facts, Stat } from '~/ui/basic'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { Ago, Time } from '~/ui/time'
import { t } from '~/views/routes/onewords'
import { Circuits, Goes } from '~/views/routes/parts'
import { appOf, keyText, listOf, tracesOf, type Route, type Version } from '~/views/routes/route'
import { filterWords, headerWords } from '~/views/routes/say'
import type { RouteStatus } from '~/views/routes/status'
import { t as r } from '~/views/routes/words'

export function Figures({ route, status }: { route: string; status: RouteStatus | undefined }) {
  const s = status
  const callable = s?.upstreams.reduce((n, u) => n + u.callable, 0)
  const instances = s?.upstreams.reduce((n, u) => n + u.instances, 0)
  const known = s !== undefined && s.upstreams.length > 0 && s.upstreams.every((u) => u.known !== undefined && !u.hidden)
  return (
    <Card title={t('lastMinute')}>
      <div class="stats">
        <Stat label={t('rate')} value={format.rate(s?.rate)} />
        <Stat label={t('errors')} value={s?.rate ? <Link class="rt-same" href={tracesOf(route, { range: '15m', error: s.errorPercent ? 'true' : undefined })}>{format.percent(s.errorPercent)}</Link> : '–'} tone={s?.errorPercent ? 'bad' : undefined} />
        <Stat label={t('refused')} value={s?.rate ? format.percent(s.refusedPercent) : '–'} tone={s?.refusedPercent ? 'warn' : undefined} />
        <Stat label={t('p50')} value={format.ms(s?.p50Ms)} />
        <Stat label={t('p99')} value={format.ms(s?.p99Ms)} />
        <Stat label={t('circuit')} value={<Circuits route={route} states={s?.states} />} />
        <Stat label={t('endpoints')} value={known ? r('callable', { callable: callable ?? 0, instances: instances ?? 0 }) : '–'} tone={known && callable === 0 ? 'bad' : undefined} />
        <Stat label={t('gateways')} value={s ? r('ofGateways', { serving: s.serving, gateways: s.gateways }) : '–'} tone={s && s.serving < s.gateways ? 'warn' : undefined} />
      </div>
    </Card>
  )
}

/** What says in words what a route does. */
export function What({ version }: { version: Version }) {
  const route = version.route
  const d = route.upstream.dubbo
  const hosts = listOf(route.match.host)
  const methods = listOf(route.match.method)
  const headers = route.match.header ?? []
  const filters = route.filters ?? []
  return (
    <Card title={t('what')}>
      <Facts
        items={[
          [t('path'), route.match.path ? <code>{route.match.path}</code> : r('anyPath')],
          [t('methods'), methods.length > 0 ? methods.join(r('or')) : r('anyMethod')],
          [t('hosts'), hosts.length > 0 ? hosts.join(r('or')) : r('anyHost')],
          headers.length > 0 && [t('headers'), headers.map(headerWords).join(r('and'))],
          [t('priority'), String(route.priority ?? 0)],
          [t('goes'), <Goes key="goes" route={route} />],
          d && [t('dubboInterface'), <span key="i"><code>{d.interface}</code>{d.group && ` · ${d.group}`}{d.version && ` · ${d.version}`}</span>],
          d && [t('method'), <code key="m">{d.method}</code>],
          d && !d.message && [
            t('args'),
            <ol key="a">
              {(d.args ?? []).map((a, i) => (
                <li key={i}>
                  <code>{a.type}</code> ← <code>{a.from}</code>
                  {a.default !== undefined && <span class="muted"> = {JSON.stringify(a.default)}</span>}
                  {a.optional && <span class="muted"> ?</span>}
                </li>
              ))}
            </ol>,
          ],
          d?.message && [
            t('message'),
            [d.message.body && t('wholeBody'), d.message.fields && t('fieldsOf', { fields: Object.entries(d.message.fields).map(([k, v]) => `${k} ← ${v}`).join(', ') })].filter(Boolean).join(r('and')),
          ],
          !d && [t('balance'), route.upstream.balance ?? 'leastRequests'],
          [
            t('filters'),
            filters.length === 0 ? (
              <span class="muted">{t('noFilters')}</span>
            ) : (
              <ol class="rt-steps said rt-bare">
                {filters.map((f, i) => (
                  <li key={i}>{filterWords(f)}</li>
                ))}
              </ol>
            ),
          ],
          [t('revision'), <span key="r">{version.revision} · {version.actor} · <Time at={version.created} /><br />{version.reason}</span>],
        ]}
      />
    </Card>
  )
}

export function Endpoints({ route, status }: { route: Route; status: RouteStatus | undefined }) {
  const app = appOf(route)
  if (!app) {
    return (
      <Card title={t('endpointsTitle')}>
        <p>{t('urlEndpoint', { url: route.upstream.url ?? '' })}</p>
      </Card>
    )
  }
  return (
    <Card title={t('endpointsTitle')} flush={(status?.upstreams.length ?? 0) > 0} actions={<Link href={`/registry/${app}`}>{t('inRegistry')}</Link>}>
      {!status || status.upstreams.length === 0 ? (
        <p class="muted">{t('unknownNow')}</p>
      ) : (
        <Table
          label={t('endpointsTitle')}
          param="ends"
          rows={status.upstreams}
          rowKey={(u) => u.app}
          columns={[
            { key: 'app', label: t('app'), cell: (u) => <Link href={appPath(u.app)}>{u.app}</Link> },
            { key: 'n', label: t('instances'), end: true, cell: (u) => (u.known === undefined ? '–' : u.instances) },
            { key: 'callable', label: t('callable'), end: true, cell: (u) => (u.known === undefined ? '–' : <span class={u.callable === 0 ? 'bad-text' : undefined}>{u.callable}</span>) },
            {
              key: 'held',
              label: t('held'),
              cell: (u) =>
                u.known === undefined ? (
                  <span class="muted">{t('unknownNow')}</span>
                ) : !u.known ? (
                  <Badge tone="bad">{r('unknownApp')}</Badge>
                ) : (
                  <span class="rt-takes">
                    {u.held.length === 0 && <span class="muted">–</span>}
                    {u.held.map((h) => (
                      <span key={h.why}>{r('heldWhy', { n: h.instances, why: say(h.why) })}</span>
                    ))}
                    {u.stale && <span class="warn-text">{r('staleHint', { time: format.time(u.stale) })}</span>}
                  </span>
                ),
            },
          ]}
        />
      )}
    </Card>
  )
}

/** Gateways shows what each gateway serves of a route. */
export function Gateways({ name, revision }: { name: string; revision: number }) {
  const query = useGet('/api/v1/gateways', undefined, { every: 5_000 })
  return (
    <Card title={t('gatewaysTitle')} flush={(query.data?.items.length ?? 0) > 0} actions={<Link href="/system">{w('system')}</Link>}>
      <Loaded query={query} isEmpty={(d) => d.items.length === 0} empty={<Empty icon="warn">{t('noGateways')}</Empty>}>
        {(data) => (
          <Table
            label={t('gatewaysTitle')}
            param="gws"
            rows={data.items}
            rowKey={(g) => g.name}
            columns={[
              { key: 'name', label: t('gateway'), cell: (g) => g.name },
              { key: 'revision', label: t('atRevision'), end: true, cell: (g) => g.revision },
              {
                key: 'state',
                label: t('state'),
                cell: (g) => {
                  const q = (g.quarantined ?? []).find((x) => keyText(x.route) === name)
                  if (!q) return g.revision >= revision ? <Badge tone="ok">{t('serves')}</Badge> : <Badge tone="warn">{t('behind')}</Badge>
                  return (
                    <span class="rt-takes">
                      <Badge tone="bad">{r('quarantined')}</Badge>
                      <span><Said text={q.reason} /></span>
                      <span class="muted">{q.serving ? t('servesOld', { revision: String(q.serving) }) : t('servesNone')}</span>
                    </span>
                  )
                },
              },
              { key: 'seen', label: t('seen'), end: true, cell: (g) => <Ago at={g.seen} /> },
            ]}
          />
        )}
      </Loaded>
    </Card>
  )
}

