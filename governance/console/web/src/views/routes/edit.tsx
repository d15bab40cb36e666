import { useEffect, useMemo, useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { Problem } from '~/api/client'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { can, canSomewhere } from '~/app/session'
import type { ViewProps } from '~/app/views'
import { MayWrite } from '~/policy/parts'
import { say } from '~/said'
import { Button, Card, Notice } from '~/ui/basic'
import { ReasonDialog } from '~/ui/dialog'
import { Diff } from '~/ui/diff'
import { Page } from '~/ui/page'
import { Empty, ErrorBox, Loaded, Loading } from '~/ui/state'
import { useDraft, useRehearsal, useYaml } from '~/views/routes/draft'
import { t } from '~/views/routes/editwords'
import { RouteForm } from '~/views/routes/formview'
import { t as never } from '~/views/routes/onewords'
import { Confirmation, Plan } from '~/views/routes/plan'
import { explainPath, keyText, routePath, sampleOf, type Route, type Version } from '~/views/routes/route'
import { t as r } from '~/views/routes/words'
import { putRoute, unknownOf, type Result } from '~/views/routes/write'
import { textOf, type Fault, type Yaml } from '~/views/routes/yaml'
import { YamlEditor } from '~/views/routes/yamleditor'
import '~/views/routes/routes.css'

/** A new route, a copy of one (?copy=namespace/name), or one that is there. */
export default function EditRoute({ params }: ViewProps) {
  const address = useAddress()
  const editing = params.ns !== undefined && params.name !== undefined ? `${params.ns}/${params.name}` : undefined
  const from = editing ?? address.get('copy')
  const title = editing ? t('titleEdit', { route: editing }) : from ? t('titleCopy', { route: from }) : t('titleNew')
  const { yaml, error, retry } = useYaml()
  return (
    <Page title={title} crumbs={[{ text: r('title'), to: '/routes' }, ...(editing ? [{ text: editing, to: routePath(editing) }] : [])]}>
      {error ? <ErrorBox error={error} retry={retry} /> : !yaml ? <Loading /> : from ? <Existing yaml={yaml} from={from} copy={editing === undefined} /> : <Editor id={`new ${address.get('app') ?? ''}`} yaml={yaml} first={fresh(address.get('app'))} />}
    </Page>
  )
}

function fresh(app: string | undefined): Partial<Route> {
  const namespace = app?.split('/')[0] ?? ''
  return { namespace, name: '', match: { path: '/' }, upstream: { app: app ?? '' } }
}

function Existing({ yaml, from, copy }: { yaml: Yaml; from: string; copy: boolean }) {
  const [namespace = '', name = ''] = from.split('/')
  const query = useGet('/api/v1/routes/{namespace}/{name}', { path: { namespace, name } }, { staleTime: Infinity, keep: false })
  const id = `${copy ? 'copy' : 'edit'} ${from}`
  if (query.error?.status === 404 && !drafts.has(id)) {
    return <Empty title={never('never', { route: from })} icon="routes" action={<Link class="btn" href="/routes">{never('toList')}</Link>} />
  }
  return <Loaded query={query}>{(v) => <Editor key={from} id={id} yaml={yaml} first={copy ? { ...v.route, name: `${v.route.name}-copy` } : v.route} base={copy ? undefined : v} />}</Loaded>
}

interface Place {
  line: number
  column?: number
}

// What was written and is not in force survives a look elsewhere, and a login that ended.
const drafts = new Map<string, { text: string; saved: string; base?: Version }>()

function Editor({ id, yaml, first, base: read }: { id: string; yaml: Yaml; first: Partial<Route>; base?: Version }) {
  const [before, setBefore] = useState(() => drafts.get(id))
  // What the document stands over: the version that was read, or the one that was looked at since.
  const [base, setBase] = useState(before ? before.base : read)
  const [text, setText] = useState(() => before?.text ?? textOf(yaml, first))
  const [saved, setSaved] = useState(before?.saved ?? text)
  const [goTo, setGoTo] = useState<Place>()
  const [asking, setAsking] = useState(false)
  const [allow, setAllow] = useState(false)
  const [done, setDone] = useState<Result>()
  const draft = useDraft(yaml, text)
  const route = draft?.value as Route | undefined
  const key = route?.namespace && route.name ? keyText(route) : undefined
  const same = base !== undefined && key === keyText(base.route)
  const expect = same ? base.revision : 0
  const rehearsal = useRehearsal(draft, key === undefined ? undefined : expect)
  const dirty = text !== saved
  useEffect(() => {
    if (dirty) drafts.set(id, { text, saved, base })
    else drafts.delete(id)
  }, [id, dirty, text, saved, base])
  useEffect(() => {
    if (!dirty) return
    const stay = (e: BeforeUnloadEvent) => e.preventDefault()
    addEventListener('beforeunload', stay)
    return () => removeEventListener('beforeunload', stay)
  }, [dirty])

  const faults: Fault[] = useMemo(() => [...(draft?.faults ?? []), ...rehearsal.faults], [draft, rehearsal.faults])
  const change = (next: string) => {
    setText(next)
    setDone(undefined)
    setBefore(undefined)
  }
  const toField = (field: string) => {
    const p = draft?.locate(field)
    if (p) setGoTo({ ...p })
  }
  const may = route?.namespace ? can('operator', route.namespace) : canSomewhere('operator')
  const unknown = unknownOf(rehearsal.result)
  const ready = rehearsal.result !== undefined && rehearsal.result.changes[0]?.action !== 'none' && (unknown.length === 0 || allow)
  const conflict = rehearsal.error && [409, 412].includes(rehearsal.error.status) ? rehearsal.error : undefined

  return (
    <>
      {before && (
        <Notice
          action={
            <Button
              small
              onClick={() => {
                const begun = textOf(yaml, first)
                change(begun)
                setSaved(begun)
                setBase(read)
              }}
            >
              {t('anew')}
            </Button>
          }
        >
          {t('kept')}
        </Notice>
      )}
      {done && (
        <>
          <Confirmation result={done} />
          <div class="row tight">
            {key && (
              <Link class="btn primary" href={routePath(key)}>
                {t('toRoute')}
              </Link>
            )}
            {route && (
              <Link class="btn" href={explainPath(sampleOf(route))}>
                {t('explainIt')}
              </Link>
            )}
            {!same && key && (
              <Link class="btn" href={routePath(key, 'edit')}>
                {t('onward')}
              </Link>
            )}
          </div>
        </>
      )}
      {base && key && !same && <Notice tone="warn">{t('other', { route: key, before: keyText(base.route) })}</Notice>}
      {conflict && key && (
        <Conflict
          yaml={yaml}
          problem={conflict}
          routeKey={key}
          mine={base}
          keep={setBase}
          take={(v) => {
            setBase(v)
            change(textOf(yaml, v.route))
            setSaved(textOf(yaml, v.route))
          }}
        />
      )}
      <div class="rt-editor">
        <div class="rt-left">
          <Card title={t('document')}>
            <YamlEditor text={text} faults={faults} onInput={change} goTo={goTo} onGo={(f) => f.line !== undefined && setGoTo({ line: f.line, column: f.column })} />
          </Card>
          <Card title={t('plan')} id="plan">
            <div class="stack tight" aria-live="polite" aria-busy={rehearsal.busy}>
              {!route ? (
                <p class="muted">{t('planNot')}</p>
              ) : rehearsal.result ? (
                <>
                  <Plan result={rehearsal.result} onField={toField} />
                  {rehearsal.result.changes[0]?.action === 'none' && !done && <p class="muted">{t('planNoneText')}</p>}
                </>
              ) : rehearsal.error ? (
                // What is at a place stands beside the document already.
                rehearsal.faults.length > 0 ? <p class="bad-text">{t('faultsAbove', { n: rehearsal.faults.length })}</p> : !conflict && <ErrorBox error={rehearsal.error} />
              ) : key === undefined ? (
                <p class="muted">{t('planName')}</p>
              ) : (
                <p class="muted">{t('planWait')}</p>
              )}
              {may && unknown.length > 0 && (
                <label class="check">
                  <input type="checkbox" checked={allow} onChange={(e) => setAllow(e.currentTarget.checked)} />
                  {t('allowUnknown')}
                </label>
              )}
              {may ? (
                <div>
                  <Button kind="primary" disabled={!ready || rehearsal.busy} onClick={() => setAsking(true)}>
                    {t('write')}
                  </Button>
                </div>
              ) : route?.namespace ? (
                <p class="muted">{t('mayNot', { namespace: route.namespace })}</p>
              ) : (
                <MayWrite>{null}</MayWrite>
              )}
            </div>
          </Card>
        </div>
        <section class="stack rt-form" aria-label={t('form')}>
          {route && draft ? (
            <RouteForm named={base === undefined} value={route} edit={(path, value) => change(draft.edit(path, value))} fault={(field) => say(faults.find((f) => f.field === field)?.message ?? '') || undefined} />
          ) : (
            <Notice>{t('formOff')}</Notice>
          )}
        </section>
      </div>
      {asking && route && key && rehearsal.result && (
        <ReasonDialog
          title={t('writeRoute', { route: key })}
          act={t('write')}
          onClose={() => setAsking(false)}
          run={async (reason) => {
            const result = await putRoute(route, expect, reason, allow)
            setDone(result)
            setSaved(text)
            // From now on the document stands over what was just written.
            setBase({ route, revision: result.revision, actor: '', reason, created: new Date().toISOString() })
            scrollTo(0, 0)
          }}
        >
          <p class="muted">{t('writeText')}</p>
          <Plan result={rehearsal.result} />
        </ReasonDialog>
      )}
    </>
  )
}

/** Conflict is shown when the route is not as it was read: by whom it was changed, how, and what can be done. */
function Conflict({ yaml, problem, routeKey, mine, keep, take }: { yaml: Yaml; problem: Problem; routeKey: string; mine?: Version; keep: (v: Version | undefined) => void; take: (v: Version) => void }) {
  const [namespace = '', name = ''] = routeKey.split('/')
  const now = useGet('/api/v1/routes/{namespace}/{name}', { path: { namespace, name } }, { staleTime: 0, keep: false })
  const gone = now.error?.status === 404
  const why = { why: problem.detail }
  return (
    <Notice tone="bad" live>
      <div class="stack tight">
        <p>{gone ? t('conflictGone', why) : mine ? t('conflict', why) : t('conflictNew', why)}</p>
        {now.data && (
          <>
            <p class="muted">{t('theirs', { revision: String(now.data.revision), actor: now.data.actor, reason: now.data.reason })}</p>
            {mine && <Diff before={textOf(yaml, mine.route).trimEnd()} after={textOf(yaml, now.data.route).trimEnd()} />}
            <div class="row tight">
              <Button onClick={() => now.data && keep(now.data)}>{t('keepMine')}</Button>
              <Button onClick={() => now.data && take(now.data)}>{t('takeTheirs')}</Button>
            </div>
          </>
        )}
        {gone && (
          <div>
            <Button onClick={() => keep(undefined)}>{t('createAgain')}</Button>
          </div>
        )}
      </div>
    </Notice>
  )
}
