import { useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { answer, api, because, Problem } from '~/api/client'
import { refresh, useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { isUnknown, useCheck } from '~/policy/check'
import { troubleText, type Errors } from '~/policy/fields'
import { formPlaces, placeErrors } from '~/policy/form'
import { parts, policyPath, type Policy, type PolicyAnswer } from '~/policy/model'
import { MayWrite, mayWrite, TargetText } from '~/policy/parts'
import { sentence } from '~/policy/sentence'
import { words as pw } from '~/policy/words'
import { Said, say } from '~/said'
import { Button, Card, Notice } from '~/ui/basic'
import { ReasonDialog } from '~/ui/dialog'
import { Page } from '~/ui/page'
import { Loaded } from '~/ui/state'
import { toast } from '~/ui/toast'
import { ConflictCard } from '~/views/policies/conflict'
import { Changes, Never, Unread, useYaml } from '~/views/policies/doc'
import { begun, conflictOf, edited, fresh, meant, nameOf, typed, worthAsking, type Draft } from '~/views/policies/draft'
import { PolicyFields } from '~/views/policies/form'
import { words as w } from '~/views/policies/words'
import '~/views/policies/policies.css'

// What was written survives a change of the language, and a look elsewhere.
const drafts = new Map<string, Draft>()

export default function Edit({ params }: ViewProps) {
  const address = useAddress()
  const fixed = params.name === undefined ? undefined : `${decodeURIComponent(params.ns ?? '')}/${decodeURIComponent(params.name)}`
  const have = useGet('/api/v1/policies/{namespace}/{name}', { path: parts(fixed ?? '/') }, { enabled: fixed !== undefined, keep: false })
  const title = fixed ? w('editTitle', { name: fixed }) : w('newTitle')
  const namespace = fixed ? parts(fixed).namespace : undefined
  const crumbs = [{ text: w('title'), to: '/policies' }, ...(fixed ? [{ text: fixed, to: policyPath(fixed) }] : [])]
  return (
    <Page title={title} crumbs={crumbs}>
      {!mayWrite(namespace) ? (
        <MayWrite namespace={namespace}>{null}</MayWrite>
      ) : fixed === undefined ? (
        <Editor id={`new ${address.get('app') ?? ''} ${address.get('command') ?? ''}`} begin={fresh(address.get)} />
      ) : have.error?.status === 404 && !drafts.has(fixed) ? (
        <Never name={fixed} />
      ) : (
        <Loaded query={have}>{(p) => <Editor id={fixed} fixed={fixed} begin={begun(p.policy, p.version)} />}</Loaded>
      )}
    </Page>
  )
}

function Editor({ id, fixed, begin }: { id: string; fixed?: string; begin: Draft }) {
  const address = useAddress()
  const { yaml, error: unread, retry } = useYaml()
  const [draft, setDraft] = useState(() => drafts.get(id) ?? begin)
  const [asking, setAsking] = useState(false)
  const [gone, setGone] = useState(false)
  const keep = (d: Draft) => {
    drafts.set(id, d)
    setDraft(d)
  }
  const words = { mapping: w('yamlMapping'), digits: w('yamlDigits') }
  const parsed = draft.text !== undefined && yaml ? yaml.read(draft.text, words) : undefined
  const { doc, trouble } = meant(draft, parsed?.doc)
  const own = Object.keys(trouble).length > 0
  const check = useCheck(!own && worthAsking(doc) ? doc : undefined, draft.allow)
  const would = check.answer?.policy
  const key = nameOf(fixed, would)
  // What there is: of the name that is edited, or that a new one would have.
  const there = useGet('/api/v1/policies/{namespace}/{name}', { path: parts(key ?? '/') }, { enabled: key !== undefined && (fixed !== undefined || (check.answer?.version ?? 0) > 0), keep: false, every: 5_000 })
  const have = gone ? undefined : there.data
  const conflict = conflictOf(draft.base, have)
  const placed: Errors = check.problem ? placeErrors(check.problem.errors, formPlaces) : {}
  const errors = { ...placed, ...troubleText(trouble) }
  const text = draft.text ?? (yaml && doc ? yaml.write(doc) : '')
  const ready = would !== undefined && !own && !check.busy && conflict === undefined && key !== undefined

  async function publish(reason: string) {
    if (!doc || !key) return
    try {
      const got = await answer(
        api.PUT('/api/v1/policies/{namespace}/{name}', {
          params: { path: parts(key), query: draft.allow ? { allowUnknown: true } : {}, header: { ...because(reason), ...(draft.base === undefined ? { 'If-None-Match': '*' } : { 'If-Match': `"${draft.base}"` }) } },
          body: doc,
        }),
      )
      drafts.delete(id)
      toast(w('published', { name: key, version: got.version }))
      refresh('/api/v1/policies', '/api/v1/switches')
      address.go(policyPath(key))
    } catch (err) {
      // Somebody was there in between: the editor shows what they wrote, once it is read.
      if (err instanceof Problem && err.status === 412) {
        const now = await there.refetch()
        if (now.error?.status === 404) {
          setGone(true)
          keep({ ...draft, base: undefined })
        } else if (now.data && now.data.version !== draft.base) {
          setAsking(false)
          return
        }
      }
      throw err
    }
  }

  return (
    <div class="stack editor">
      {gone && key && <Notice tone="warn">{w('conflictGone', { name: key })}</Notice>}
      {conflict && have && key && (
        <ConflictCard
          name={key}
          base={draft.base}
          theirs={have}
          mine={would ?? doc}
          over={() => keep({ ...draft, base: have.version })}
          take={() => {
            drafts.delete(id)
            if (fixed) keep(begun(have.policy, have.version))
            else address.go(`${policyPath(key)}/edit`)
          }}
        />
      )}
      {errors[''] && (
        <Notice tone="bad" live>
          {errors['']}
        </Notice>
      )}
      <div class="editor-grid">
        <PolicyFields form={draft.form} set={(patch) => keep(edited(draft, patch))} errors={errors} fixed={fixed !== undefined} frozen={draft.text !== undefined && doc === undefined} />
        <div class="stack editor-side">
          <Card title={w('yamlSide')}>
            <div class="stack tight">
              <p class="muted" id="yaml-hint">
                {parsed && !parsed.doc ? w('yamlBroken') : w('yamlHint')}
              </p>
              {yaml ? (
                <textarea
                  class="textarea code yaml"
                  aria-label={w('yamlLabel')}
                  aria-describedby="yaml-hint yaml-lines"
                  aria-invalid={parsed && !parsed.doc ? 'true' : undefined}
                  value={text}
                  spellcheck={false}
                  onInput={(e) => keep(typed(draft, e.currentTarget.value, yaml.read(e.currentTarget.value, words).doc))}
                />
              ) : (
                <Unread error={unread} retry={retry} lines={8} />
              )}
              <div id="yaml-lines" class="yaml-lines" role="status">
                {lineErrors(parsed ?? (yaml ? yaml.read(text, words) : undefined), check.problem).map((e) => (
                  <p key={e}>{e}</p>
                ))}
              </div>
            </div>
          </Card>
          <Card title={w('check')}>
            <div class="stack tight" role="status">
              {own && <p class="bad-text">{w('troubles')}</p>}
              {!own && !worthAsking(doc) && <p class="muted">{w('checkWait')}</p>}
              {check.busy && !would && <p class="muted">{w('checking')}</p>}
              {check.problem && <p class="bad-text">{check.problem.detail.replaceAll('body.', '')}</p>}
              {would && <Will would={would} answer={check.answer!} />}
              {(isUnknown(check.problem) || draft.allow) && (
                <label class="check">
                  <input type="checkbox" checked={draft.allow} onChange={(e) => keep({ ...draft, allow: e.currentTarget.checked })} />
                  {pw('allowUnknown')}
                </label>
              )}
            </div>
          </Card>
        </div>
      </div>
      {would && key && !conflict && (
        <Card title={w('diff')}>
          {have ? (
            <div class="stack tight">
              <p class="muted">{w('diffFrom', { version: have.version, actor: have.actor, reason: have.reason })}</p>
              <Changes before={have.policy} after={would} />
            </div>
          ) : (
            <p>{w('diffNew', { name: key })}</p>
          )}
        </Card>
      )}
      <div class="editor-foot">
        <Link
          class="btn"
          href={fixed ? policyPath(fixed) : '/policies'}
          onClick={() => {
            drafts.delete(id)
          }}
        >
          {shared('cancel')}
        </Link>
        <Button kind="primary" disabled={!ready} onClick={() => setAsking(true)}>
          {w('publish')}
        </Button>
      </div>
      {asking && key && would && (
        <ReasonDialog title={w('publishTitle', { name: key })} act={w('publish')} onClose={() => setAsking(false)} run={publish}>
          <Will would={would} answer={check.answer!} />
          {have && <Changes before={have.policy} after={would} />}
        </ReasonDialog>
      )}
    </div>
  )
}

/** Will says what a document would do, and to whom. */
function Will({ would, answer: a }: { would: Policy; answer: PolicyAnswer }) {
  const live = a.confirmation?.live ?? 0
  return (
    <>
      <p>
        <TargetText target={would.target} />
      </p>
      <p>{sentence(would)}</p>
      <p class={live === 0 ? 'warn-text' : ''}>{live === 0 ? pw('nobodyWould') : w('wouldBe', { n: live })}</p>
      {would.expires && (
        <p>
          {w('end')}: {format.time(would.expires)}
        </p>
      )}
      {(a.warnings ?? []).map((text) => (
        <p key={text} class="warn-text">
          <Said text={text} />
        </p>
      ))}
    </>
  )
}

interface ReadText {
  wrong: { line: number; message: string }[]
  lineOf: (place: string) => number | undefined
}

/** Errors of the document by their line: what cannot be read, and what the server refuses. */
function lineErrors(r: ReadText | undefined, problem: Problem | undefined): string[] {
  if (!r) return []
  if (r.wrong.length > 0) return r.wrong.map((e) => w('yamlLine', { line: String(e.line), message: say(e.message) }))
  return (problem?.errors ?? []).flatMap((e) => {
    const place = (e.location ?? '').replace(/^body\.?/, '')
    const line = place === '' ? undefined : r.lineOf(place)
    return line === undefined ? [] : [w('yamlLine', { line: String(line), message: `${place} ${say(e.message ?? '')}` })]
  })
}

