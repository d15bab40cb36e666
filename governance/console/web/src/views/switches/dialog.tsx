import { useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { answer, api, because } from '~/api/client'
import { refresh } from '~/api/query'
import * as format from '~/i18n/format'
import { isUnknown, useCheck, type Checked } from '~/policy/check'
import { FallbackFields, TargetFields, troubleText, type Errors } from '~/policy/fields'
import { placeErrors, formPlaces } from '~/policy/form'
import { keyOf, policyPath, shortCommand, type PolicyAnswer, type Target } from '~/policy/model'
import { Arriving, serverNow } from '~/policy/parts'
import { answers, where } from '~/policy/sentence'
import { words as pw } from '~/policy/words'
import { words as app } from '~/app/words'
import { Said } from '~/said'
import { Button, Notice } from '~/ui/basic'
import { Dialog } from '~/ui/dialog'
import { Field } from '~/ui/field'
import { ErrorBox } from '~/ui/state'
import { Lasting } from '~/views/switches/lasting'
import { lasts, prepare, targetOf, type PullForm } from '~/views/switches/pull'
import { Traffic } from '~/views/switches/traffic'
import { words as w } from '~/views/switches/words'

/** PullDialog pulls a switch: it says what it will do, does it, and stays while instances confirm. */
export function PullDialog({ initial, onClose }: { initial: PullForm; onClose: () => void }) {
  const [done, setDone] = useState<PolicyAnswer>()
  return (
    <Dialog title={done ? w('pulledTitle') : w('pullTitle')} onClose={onClose} wide>
      {done ? <Done item={done} onClose={onClose} /> : <PullForms initial={initial} onClose={onClose} onDone={setDone} />}
    </Dialog>
  )
}

const pullPlaces = new Set([...formPlaces, 'for'])

function PullForms({ initial, onClose, onDone }: { initial: PullForm; onClose: () => void; onDone: (p: PolicyAnswer) => void }) {
  const [f, setF] = useState(initial)
  const [reason, setReason] = useState('')
  const [allow, setAllow] = useState(false)
  const [tried, setTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [problem, setProblem] = useState<unknown>()
  const made = prepare(f)
  const named = /^[^/\s]+\/[^/\s]+$/.test(made.doc.target.app)
  const own = Object.keys(made.trouble).length > 0
  const check = useCheck(named && !own ? made.doc : undefined, allow)
  const unknown = isUnknown(check.problem) || allow
  const errors: Errors = {
    ...(check.problem ? placeErrors(check.problem.errors, pullPlaces) : {}),
    ...(tried || f.fallback.value !== '' ? troubleText(made.trouble) : {}),
    ...(tried && !named ? { 'target.app': pw('targetAppHint') } : {}),
  }
  const taken = check.answer !== undefined && check.answer.version > 0 && !replaces(check.answer, f)
  const missing = reason.trim() === ''
  async function submit(e: Event) {
    e.preventDefault()
    setTried(true)
    if (missing || own || !named || busy) return
    setBusy(true)
    setProblem(undefined)
    try {
      const got = await answer(api.POST('/api/v1/switches', { body: made.body, params: { query: allow ? { allowUnknown: true } : {}, header: because(reason) } }))
      refresh('/api/v1/switches', '/api/v1/policies')
      onDone(got)
    } catch (err) {
      setProblem(err)
      setBusy(false)
    }
  }
  const set = (patch: Partial<PullForm>) => setF({ ...f, ...patch })
  return (
    <form class="stack" onSubmit={submit} noValidate>
      <TargetFields value={f} set={set} errors={errors} />
      {unknown && (
        <label class="check">
          <input type="checkbox" checked={allow} onChange={(e) => setAllow(e.currentTarget.checked)} />
          {pw('allowUnknown')}
        </label>
      )}
      <FallbackFields value={f.fallback} set={(fallback) => set({ fallback })} errors={errors} />
      <Lasting value={f} set={setF} />
      {(taken || f.name !== '' || errors.name) && (
        <Field label={w('name')} hint={w('nameHint')} error={errors.name}>
          {(c) => <input {...c} class="input" value={f.name} onInput={(e) => set({ name: e.currentTarget.value })} spellcheck={false} />}
        </Field>
      )}
      <Will form={f} check={check} named={named} taken={taken} />
      <Field label={app('reason')} hint={app('reasonHint')} error={tried && missing ? app('reasonMissing') : undefined}>
        {(c) => <input {...c} class="input" name="reason" maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} autoFocus={initial.app !== ''} />}
      </Field>
      {problem !== undefined && <ErrorBox error={problem} />}
      <footer>
        <Button onClick={onClose}>{app('cancel')}</Button>
        <Button type="submit" kind="danger" busy={busy}>
          {w('pullAct')}
        </Button>
      </footer>
    </form>
  )
}

/** replaces reports whether what has the name is a switch of the same calls, which may be pulled anew. */
function replaces(have: PolicyAnswer, f: PullForm): boolean {
  const t = targetOf(f)
  const o = have.policy.target
  return have.policy.kind === 'switch' && o.app === t.app && shortCommand(o.command ?? '') === shortCommand(t.command ?? '')
}

/** What a target is called in a sentence. */
function what(t: Target): string {
  return t.command ? w('whatOne', { command: t.command, app: t.app }) : w('whatAll', { app: t.app })
}

/** Will says what is about to happen, before it does. */
function Will({ form: f, check, named, taken }: { form: PullForm; check: Checked; named: boolean; taken: boolean }) {
  const target = targetOf(f)
  const ms = lasts(f)
  const got = check.answer
  const live = got?.confirmation?.live
  return (
    <div class="will" role="status">
      <h3>{w('will')}</h3>
      {!named && <p class="muted">{w('willChoose')}</p>}
      {named && (
        <>
          <p>{w('willRefuse', { what: what(target), where: where(target) })}</p>
          {check.busy && live === undefined && <p class="muted">{w('willChecking')}</p>}
          {live !== undefined && <p class={live === 0 ? 'warn-text' : ''}>{live === 0 ? pw('nobodyWould') : w('willInstances', { n: live })}</p>}
          {check.problem && <p class="bad-text">{check.problem.detail}</p>}
          <Traffic target={target} confirmation={got?.confirmation} />
          <p>{w('willAnswer', { answer: got?.policy.fallback ? answers(got.policy.fallback) : pw('answersOwn') })}</p>
          {ms !== undefined && !Number.isNaN(ms) && <p>{w('willEnd', { time: format.time(serverNow() + ms), span: format.span(ms / 1000) })}</p>}
          {ms === undefined && <p class="warn-text">{w('pulledNever')}</p>}
          {(got?.warnings ?? []).map((text) => (
            <p key={text} class="warn-text">
              <Said text={text} />
            </p>
          ))}
          {got && got.version > 0 && (
            <Notice tone="warn">
              {taken ? w('willReplaceOther', { kind: got.policy.kind === 'switch' ? pw('switch') : pw('policy'), name: keyOf(got.policy), version: got.version }) : w('willReplace', { actor: got.actor, reason: got.reason })}
            </Notice>
          )}
        </>
      )}
    </div>
  )
}

function Done({ item, onClose }: { item: PolicyAnswer; onClose: () => void }) {
  const key = keyOf(item.policy)
  return (
    <div class="stack">
      <Notice tone="ok" live>
        {w('pulled', { name: key, version: item.version })} {item.policy.expires ? w('pulledEnd', { time: format.time(item.policy.expires) }) : w('pulledNever')}
      </Notice>
      {(item.warnings ?? []).map((text) => (
        <Notice key={text} tone="warn">
          <Said text={text} />
        </Notice>
      ))}
      <Arriving policy={key} since={Date.parse(item.created)} />
      <footer class="row">
        <Link class="btn" href={policyPath(key)}>
          {w('document')}
        </Link>
        <Button kind="primary" onClick={onClose} autoFocus>
          {w('done')}
        </Button>
      </footer>
    </div>
  )
}

