import { useEffect, useMemo, useState } from 'preact/hooks'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import { me } from '~/app/session'
import { health } from '~/live/store'
import { Button } from '~/ui/basic'
import { Field } from '~/ui/field'
import { Icon } from '~/ui/icons'
import { check, formatTags, limits, parseTags, toAddress, wantedOf, type Wanted } from './search'
import { words as w } from './words'

/** Form holds what is wanted until it is searched for; then all of it stands in the address. */
export function Form({ wanted, search, busy }: { wanted: Wanted; search: () => void; busy: boolean }) {
  const address = useAddress()
  const [draft, setDraft] = useState(wanted)
  const [tried, setTried] = useState(false)
  useEffect(() => setDraft(wanted), [wanted])
  const wrong = check(draft)
  const put = (patch: Partial<Wanted>) => setDraft({ ...draft, ...patch })
  const mistake = (m: 'duration' | 'durations' | undefined) => (tried && m ? w(m === 'duration' ? 'badDuration' : 'badDurations') : undefined)
  const text = (name: 'app' | 'command' | 'span' | 'peer' | 'tags' | 'min' | 'max', label: string, hint?: string, list?: string, error?: string) => (
    <Field label={label} error={error}>
      {(f) => <input {...f} class="input" name={name} list={list} placeholder={hint} autoComplete="off" spellcheck={false} value={draft[name]} onInput={(e) => put({ [name]: e.currentTarget.value })} />}
    </Field>
  )
  const conditions = parseTags(draft.tags)
  const hidden = wanted.span !== '' || wanted.peer !== '' || wanted.max !== '' || toAddress(wanted).limit !== undefined
  return (
    <form
      class="card trace-form"
      role="search"
      aria-label={w('form')}
      onSubmit={(e) => {
        e.preventDefault()
        setTried(true)
        if (Object.keys(wrong).length > 0) return
        address.set(toAddress(draft))
        search()
      }}
    >
      <Names service={draft.app} />
      <div class="fields">
        {text('app', w('app'), w('appHint'), 'trace-apps')}
        {text('command', w('command'))}
        <div class="wide">{text('tags', w('tags'), w('tagsHint'))}</div>
        {text('min', w('min'), w('minHint'), undefined, mistake(wrong.min))}
      </div>
      <details open={hidden}>
        <summary>{w('more')}</summary>
        <div class="fields">
          {text('span', w('span'), undefined, 'trace-spans')}
          {text('peer', w('peer'), w('peerHint'), 'trace-peers')}
          {text('max', w('max'), w('maxHint'), undefined, mistake(wrong.max))}
          <Field label={w('limit')}>
            {(f) => (
              <select {...f} class="select" value={String(draft.limit)} onChange={(e) => put({ limit: Number(e.currentTarget.value) })}>
                {[...new Set([...limits, draft.limit])]
                  .sort((a, b) => a - b)
                  .map((n) => (
                    <option key={n} value={String(n)}>
                      {n}
                    </option>
                  ))}
              </select>
            )}
          </Field>
        </div>
      </details>
      <div class="row tight">
        {conditions.length > 1 && (
          <ul class="row tight" aria-label={w('conditions')}>
            {conditions.map((c) => (
              <li key={c.key} class="chip">
                <code>{formatTags([c])}</code>
                <button type="button" class="drop" aria-label={w('drop', { what: c.key })} onClick={() => put({ tags: formatTags(conditions.filter((o) => o !== c)) })}>
                  <Icon name="close" size={10} />
                </button>
              </li>
            ))}
          </ul>
        )}
        <label class="check push">
          <input type="checkbox" checked={draft.error} onChange={(e) => put({ error: e.currentTarget.checked })} />
          {w('errorsOnly')}
        </label>
        <Button
          kind="plain"
          onClick={() => {
            setTried(false)
            address.set(toAddress(wantedOf(() => undefined)))
          }}
        >
          {w('clear')}
        </Button>
        <Button type="submit" kind="primary" icon="search" busy={busy}>
          {w('search')}
        </Button>
      </div>
    </form>
  )
}

/** Names are what can be chosen from. Who is bounded to namespaces gets no such lists, and types. */
function Names({ service }: { service: string }) {
  const bounded = (me.value?.namespaces ?? []).length > 0
  const options = { staleTime: 60_000, retry: false as const }
  const services = useGet('/api/v1/trace-services', undefined, { ...options, enabled: !bounded })
  const name = service.slice(service.indexOf('/') + 1).toLowerCase()
  const known = services.data?.services.includes(name) ?? false
  const names = useGet('/api/v1/trace-names', { query: { service: name } }, { ...options, enabled: !bounded && known, keep: false })
  const apps = useMemo(() => [...health.value.keys()].sort(), [health.value])
  const own = new Set(apps.map((a) => a.slice(a.indexOf('/') + 1)))
  const list = (id: string, values: readonly string[]) => (
    <datalist id={id}>
      {values.slice(0, 500).map((v) => (
        <option key={v} value={v} />
      ))}
    </datalist>
  )
  return (
    <>
      {list('trace-apps', [...apps, ...(services.data?.services ?? []).filter((s) => !own.has(s))])}
      {list('trace-peers', [...apps, ...(names.data?.remotes ?? []).filter((s) => !own.has(s))])}
      {list('trace-spans', names.data?.spans ?? [])}
    </>
  )
}
