// The fields that the editor and the dialog of a switch share.
import { useId, useState } from 'preact/hooks'
import { useGet } from '~/api/query'
import { Button } from '~/ui/basic'
import { Field } from '~/ui/field'
import { noFallback, type FallbackForm, type FallbackKind, type Trouble } from '~/policy/form'
import { parts } from '~/policy/model'
import { words as w } from '~/policy/words'

/** What is wrong at a place of the document. */
export type Errors = Record<string, string>

const troubles = { number: 'troubleNumber', json: 'troubleJson', digits: 'troubleDigits', duration: 'troubleDuration', time: 'troubleTime' } as const

/** troubleText says what is wrong with fields before the server is asked. */
export function troubleText(t: Record<string, Trouble>): Errors {
  return Object.fromEntries(Object.entries(t).map(([place, what]) => [place, w(troubles[what])]))
}

export interface TargetForm {
  app: string
  command: string
  at: 'provider' | 'caller'
  from: string[]
}

/** useApps are the applications that are known, to be chosen from. */
function useApps(): string[] {
  const apps = useGet('/api/v1/apps')
  return (apps.data?.items ?? []).map((a) => a.app)
}

/** useCommands are the commands that an application is known to serve. */
function useCommands(app: string): string[] | undefined {
  const known = /^[^/\s]+\/[^/\s]+$/.test(app)
  const detail = useGet('/api/v1/apps/{namespace}/{name}', { path: parts(app) }, { enabled: known, keep: false })
  if (!detail.data) return undefined
  return [...new Set((detail.data.commands ?? []).filter((c) => c.at === 'provider').map((c) => c.command))].sort()
}

export function TargetFields({ value: v, set, errors, disabled }: { value: TargetForm; set: (patch: Partial<TargetForm>) => void; errors: Errors; disabled?: boolean }) {
  const apps = useApps()
  const commands = useCommands(v.app.trim())
  const id = useId()
  return (
    <fieldset class="plain-fieldset" disabled={disabled}>
      <legend class="sr">{w('target')}</legend>
      <div class="fields">
        <Field label={w('targetApp')} hint={w('targetAppHint')} error={errors['target.app'] ?? errors.target}>
          {(f) => <input {...f} class="input" list={`${id}apps`} value={v.app} onInput={(e) => set({ app: e.currentTarget.value })} spellcheck={false} autoComplete="off" autoFocus={v.app === ''} />}
        </Field>
        <datalist id={`${id}apps`}>
          {apps.map((a) => (
            <option key={a} value={a} />
          ))}
        </datalist>
        <Field label={w('command')} hint={commands?.length === 0 ? w('commandNone') : w('commandHint')} error={errors['target.command']}>
          {(f) => <input {...f} class="input mono" list={`${id}commands`} placeholder={w('allCommands')} value={v.command} onInput={(e) => set({ command: e.currentTarget.value })} spellcheck={false} autoComplete="off" />}
        </Field>
        <datalist id={`${id}commands`}>
          {(commands ?? []).map((c) => (
            <option key={c} value={c} />
          ))}
        </datalist>
      </div>
      <Choice
        label={w('where')}
        value={v.at}
        set={(at) => set({ at, ...(at === 'provider' ? { from: [] } : {}) })}
        options={[
          { value: 'provider', label: w('provider'), hint: w('providerHint') },
          { value: 'caller', label: w('caller'), hint: w('callerHint') },
        ]}
        error={errors['target.at']}
      />
      {v.at === 'caller' && <From value={v.from} set={(from) => set({ from })} apps={apps} error={errors['target.from']} />}
    </fieldset>
  )
}

function From({ value, set, apps, error }: { value: string[]; set: (v: string[]) => void; apps: string[]; error?: string }) {
  const [next, setNext] = useState('')
  const id = useId()
  const add = () => {
    const app = next.trim()
    if (app === '') return
    if (!value.includes(app)) set([...value, app])
    setNext('')
  }
  return (
    <Field label={w('from')} hint={w('fromHint')} error={error}>
      {(f) => (
        <div class="row tight">
          {value.map((app) => (
            <span class="chip" key={app}>
              {app}
              <Button small kind="plain" icon="close" label={w('fromRemove', { app })} onClick={() => set(value.filter((x) => x !== app))} />
            </span>
          ))}
          <input
            {...f}
            class="input medium"
            list={id}
            value={next}
            onInput={(e) => setNext(e.currentTarget.value)}
            onBlur={add}
            onKeyDown={(e) => {
              if (e.key === 'Enter') {
                e.preventDefault()
                add()
              }
            }}
            spellcheck={false}
            autoComplete="off"
          />
          <Button onClick={add}>{w('fromAdd')}</Button>
          <datalist id={id}>
            {apps.filter((a) => !value.includes(a)).map((a) => (
              <option key={a} value={a} />
            ))}
          </datalist>
        </div>
      )}
    </Field>
  )
}

export interface Option<V extends string> {
  value: V
  label: string
  hint?: string
}

/** Choice is one of a few, each with what it means. */
export function Choice<V extends string>({ label, value, set, options, error }: { label: string; value: V; set: (v: V) => void; options: Option<V>[]; error?: string }) {
  const name = useId()
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      <div class="choice-options">
        {options.map((o) => (
          <label key={o.value} class="check">
            <input type="radio" name={name} value={o.value} checked={o.value === value} onChange={() => set(o.value)} />
            <span>
              {o.label}
              {o.hint && <span class="muted"> {o.hint}</span>}
            </span>
          </label>
        ))}
      </div>
      {error && (
        <span class="error" role="alert">
          {error}
        </span>
      )}
    </fieldset>
  )
}

// How deep the answers for "where there is none" may go.
const deepest = 3

/** FallbackFields choose what callers get in place of an answer. */
export function FallbackFields({ value: v, set, errors, place = 'fallback', label, depth = 0, leave }: { value: FallbackForm; set: (f: FallbackForm) => void; errors: Errors; place?: string; label?: string; depth?: number; /** Nothing chosen leaves it to other policies. */ leave?: boolean }) {
  const options: Option<FallbackKind>[] = [
    { value: '', label: w(leave ? 'fallbackLeft' : 'fallbackNone') },
    { value: 'value', label: w('fallbackValue') },
    { value: 'empty', label: w('fallbackEmpty') },
    { value: 'error', label: w('fallbackError') },
    ...(depth < deepest ? [{ value: 'cached', label: w('fallbackCached') } as const] : []),
  ]
  return (
    <div class="stack tight">
      <Choice label={label ?? w('answer')} value={v.kind} set={(kind) => set({ ...v, kind, maxAge: kind === 'cached' && v.maxAge === '' ? '5m' : v.maxAge })} options={options} error={errors[place]} />
      {v.kind === '' && <p class="muted">{w(leave ? 'fallbackLeftHint' : 'fallbackNoneHint')}</p>}
      {v.kind === 'value' && (
        <Field label={w('value')} hint={w('valueHint')} error={errors[`${place}.value`]}>
          {(f) => <textarea {...f} class="textarea code" rows={4} value={v.value} onInput={(e) => set({ ...v, value: e.currentTarget.value })} spellcheck={false} />}
        </Field>
      )}
      {v.kind === 'error' && (
        <Field label={w('errorText')} hint={w('errorHint')} error={errors[`${place}.error`]}>
          {(f) => <input {...f} class="input" value={v.error} onInput={(e) => set({ ...v, error: e.currentTarget.value })} />}
        </Field>
      )}
      {v.kind === 'cached' && (
        <>
          <Field label={w('maxAge')} hint={w('maxAgeHint')} error={errors[`${place}.cached.maxAge`]}>
            {(f) => <input {...f} class="input short" value={v.maxAge} onInput={(e) => set({ ...v, maxAge: e.currentTarget.value })} />}
          </Field>
          <div class="nested">
            <FallbackFields value={v.else ?? noFallback} set={(rest) => set({ ...v, else: rest.kind === '' ? undefined : rest })} errors={errors} place={`${place}.else`} label={w('else')} depth={depth + 1} />
          </div>
        </>
      )}
    </div>
  )
}
