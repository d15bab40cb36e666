import { useQuery } from '@tanstack/preact-query'
import { useEffect, useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { answer, api, type Problem, type Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { can, canSomewhere } from '~/app/session'
import { Said, say } from '~/said'
import { Badge, Button, Card, Facts, Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { argument, queryOf, valueFrom, type Found, type Sources } from '~/views/routes/args'
import { t } from '~/views/routes/explainwords'
import { Goes } from '~/views/routes/parts'
import { explainPath, headersOf, keyText, routePath, type Route } from '~/views/routes/route'
import { filterWords } from '~/views/routes/say'
import { t as r } from '~/views/routes/words'
import '~/views/routes/routes.css'

type Explanation = Schemas['GatewayExplanation']
type Candidate = Schemas['GatewayCandidate']

interface Sample {
  method: string
  url: string
  headers: string[]
  body: string
}

const example = 'http://shop.example.com/shop/cart/42'
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']

/** What becomes of a request; the address holds all of it. */
export default function Explain() {
  const address = useAddress()
  const sample: Sample = { method: address.get('method') ?? 'GET', url: address.get('url') ?? '', headers: address.all('header'), body: address.get('body') ?? '' }
  const { headers, wrong } = headersOf(sample.headers)
  const query = useQuery<Explanation, Problem>({
    queryKey: ['/api/v1/routes:explain', sample.method, sample.url, headers],
    enabled: sample.url !== '' && wrong.length === 0,
    staleTime: 2_000,
    retry: false,
    placeholderData: undefined,
    queryFn: ({ signal }) => answer(api.POST('/api/v1/routes:explain', { body: { method: sample.method, url: sample.url, headers }, signal })),
  })
  return (
    <Page title={t('title')} crumbs={[{ text: r('title'), to: '/routes' }]} lead={t('lead')}>
      <Request sample={sample} busy={query.isFetching} again={() => void query.refetch()} />
      {sample.url === '' ? (
        <Empty icon="routes" title={t('ask')} />
      ) : wrong.length > 0 ? null : (
        <Loaded query={query as never as Parameters<typeof Loaded<Explanation>>[0]['query']}>{(e) => <Shown e={e} sample={sample} headers={headers} />}</Loaded>
      )}
    </Page>
  )
}

function Request({ sample, busy, again }: { sample: Sample; busy: boolean; again: () => void }) {
  const address = useAddress()
  const [method, setMethod] = useState(sample.method)
  const [url, setUrl] = useState(sample.url)
  const [headers, setHeaders] = useState(sample.headers.join('\n'))
  const [body, setBody] = useState(sample.body)
  const [tried, setTried] = useState(sample.url !== '')
  const here = JSON.stringify(sample)
  useEffect(() => {
    setMethod(sample.method)
    setUrl(sample.url)
    setHeaders(sample.headers.join('\n'))
    setBody(sample.body)
  }, [here])
  const { wrong } = headersOf(headers.split('\n'))
  return (
    <Card title={t('request')}>
      <form
        class="stack tight"
        onSubmit={(e) => {
          e.preventDefault()
          setTried(true)
          if (url.trim() === '' || wrong.length > 0) return
          const to = explainPath({ method, url: url.trim(), headers: headers.split('\n').filter((l) => l.trim() !== ''), body })
          if (to === `${location.pathname}${location.search}`) again()
          else address.go(to)
        }}
      >
        <div class="rt-request">
          <Field label={t('method')}>
            {(f) => (
              <select {...f} class="select" value={method} onChange={(e) => setMethod(e.currentTarget.value)}>
                {[...methods, ...(methods.includes(method) ? [] : [method])].map((m) => (
                  <option key={m}>{m}</option>
                ))}
              </select>
            )}
          </Field>
          <Field label={t('url')} hint={t('urlHint')} error={tried && url.trim() === '' ? t('urlMissing') : undefined}>
            {(f) => <input {...f} class="input" spellcheck={false} autocomplete="off" placeholder={example} value={url} onInput={(e) => setUrl(e.currentTarget.value)} />}
          </Field>
        </div>
        <div class="grid2">
          <Field label={t('headers')} hint={t('headersHint')} error={wrong.length > 0 ? t('headersWrong', { lines: wrong.join(', ') }) : undefined}>
            {(f) => <textarea {...f} class="textarea code rt-low" rows={2} spellcheck={false} value={headers} onInput={(e) => setHeaders(e.currentTarget.value)} />}
          </Field>
          <Field label={t('body')} hint={t('bodyHint')}>
            {(f) => <textarea {...f} class="textarea code rt-low" rows={2} spellcheck={false} value={body} onInput={(e) => setBody(e.currentTarget.value)} />}
          </Field>
        </div>
        <div>
          <Button type="submit" kind="primary" busy={busy}>
            {t('run')}
          </Button>
        </div>
      </form>
    </Card>
  )
}

function Shown({ e, sample, headers }: { e: Explanation; sample: Sample; headers: Record<string, string[]> }) {
  const losers = e.losers ?? []
  return (
    <>
      {e.winner ? (
        <Winner winner={e.winner} sources={{ vars: e.winner.vars ?? {}, query: queryOf(sample.url), headers, body: sample.body }} />
      ) : (
        <Card>
          <Empty icon="warn" title={t('none')} action={canSomewhere('operator') && <Link class="btn" href="/routes/new">{t('newRoute')}</Link>}>
            {t('noneText', { n: e.routes })}
          </Empty>
        </Card>
      )}
      <Card title={t('losers')} flush={losers.length > 0}>
        {losers.length === 0 ? (
          <p class="muted">{t('noLosers')}</p>
        ) : (
          <Table
            label={t('losers')}
            rows={losers}
            rowKey={(c) => keyText(c.route)}
            columns={[
              { key: 'route', label: t('route'), cell: (c) => <Link href={routePath(keyText(c.route))}>{keyText(c.route)}</Link> },
              { key: 'why', label: t('lost'), class: 'name', cell: (c) => <Said text={c.why} /> },
              { key: 'to', label: t('upstream'), cell: (c) => <span class="muted">{c.upstream ?? '–'}</span> },
            ]}
          />
        )}
      </Card>
      <p class="muted">
        {losers.length > 0 && t('losersHint')} {e.winner && t('looked', { n: e.routes })}
      </p>
    </>
  )
}

function Winner({ winner, sources }: { winner: Candidate; sources: Sources }) {
  const key = keyText(winner.route)
  // Of a route that may not be seen, only its name is told.
  const hidden = winner.upstream === undefined
  const document = useGet('/api/v1/routes/{namespace}/{name}', { path: winner.route }, { enabled: !hidden, keep: false })
  const route = document.data?.route
  const vars = Object.entries(winner.vars ?? {})
  return (
    <Card
      title={t('takenBy', { route: key })}
      actions={
        !hidden && (
          <>
            <Link class="btn small" href={routePath(key)}>
              {t('open')}
            </Link>
            {can('operator', winner.route.namespace) && (
              <Link class="btn small" href={routePath(key, 'edit')}>
                {t('edit')}
              </Link>
            )}
          </>
        )
      }
    >
      {hidden && <Notice>{t('hidden')}</Notice>}
      <Facts
        items={[
          [t('why'), `${say(winner.why)} (${t('revision', { revision: String(winner.revision) })})`],
          vars.length > 0 && [t('vars'), <span key="v" class="row tight">{vars.map(([k, v]) => <code key={k} class="chip">{`${k} = ${v}`}</code>)}</span>],
          !hidden && [t('upstream'), route ? <Goes key="g" route={route} /> : winner.upstream],
          !hidden && route !== undefined && [t('endpoints'), <Chosen key="e" winner={winner} route={route} />],
          route?.upstream.dubbo && (route.upstream.dubbo.message ? [t('message'), <Message key="m" route={route} sources={sources} />] : [t('args'), <Args key="a" route={route} sources={sources} />]),
          route !== undefined && [
            t('filters'),
            (route.filters ?? []).length === 0 ? (
              t('noFilters')
            ) : (
              <ol key="f" class="rt-steps said rt-bare">
                {(route.filters ?? []).map((f, i) => (
                  <li key={i}>{filterWords(f)}</li>
                ))}
              </ol>
            ),
          ],
        ]}
      />
    </Card>
  )
}

function Chosen({ winner, route }: { winner: Candidate; route: Route }) {
  if (!route.upstream.app) return <span class="muted">{route.upstream.url ?? t('endpointsUnknown')}</span>
  const all = winner.endpoints ?? []
  if (all.length === 0) return <span class="bad-text">{t('noEndpoints')}</span>
  const balance = route.upstream.balance === 'roundRobin' || route.upstream.balance === 'random' ? route.upstream.balance : 'leastRequests'
  return (
    <span class="rt-takes">
      <span class="row tight">
        {all.map((e) => (
          <code key={e} class="chip">
            {e}
          </code>
        ))}
      </span>
      {all.length > 1 && <span class="muted">{t('endpointsHint', { balance: t(balance) })}</span>}
    </span>
  )
}

function foundWords(f: Found): { text: string; bad: boolean } {
  switch (f.kind) {
    case 'value':
      return { text: JSON.stringify(f.value), bad: false }
    case 'default':
      return { text: t('argDefault', { value: JSON.stringify(f.value) }), bad: false }
    case 'null':
      return { text: t('argNull'), bad: false }
    case 'notJson':
      return { text: t('argNotJson'), bad: true }
    default:
      return { text: t('argMissing'), bad: true }
  }
}

function Args({ route, sources }: { route: Route; sources: Sources }) {
  return (
    <ol class="rt-takes">
      {(route.upstream.dubbo?.args ?? []).map((a, i) => {
        const f = foundWords(argument(a, sources))
        return (
          <li key={i}>
            <code>{a.type}</code> <span class="muted">← {a.from}:</span> {f.bad ? <Badge tone="bad">{f.text}</Badge> : <code>{f.text}</code>}
          </li>
        )
      })}
    </ol>
  )
}

function Message({ route, sources }: { route: Route; sources: Sources }) {
  const m = route.upstream.dubbo?.message
  const body = m?.body ? valueFrom('body', sources) : undefined
  if (body === 'notJson') return <Badge tone="bad">{t('argNotJson')}</Badge>
  const out: Record<string, unknown> = { ...(body && typeof body.value === 'object' ? body.value : {}) }
  for (const [field, from] of Object.entries(m?.fields ?? {})) {
    const v = valueFrom(from, sources)
    if (v && v !== 'notJson') out[field] = v.value
  }
  return <code>{JSON.stringify(out)}</code>
}
