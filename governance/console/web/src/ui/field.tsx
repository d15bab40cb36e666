import type { ComponentChildren } from 'preact'
import { useEffect, useId, useState } from 'preact/hooks'
import { useAddress } from '~/app/address'
import { words as w } from '~/app/words'

export interface FieldControl {
  id: string
  'aria-invalid'?: 'true'
  'aria-describedby'?: string
}

/** Field gives a control its label, its hint and its error; spread what it hands over into the control. */
export function Field({ label, hint, error, children }: { label: ComponentChildren; hint?: ComponentChildren; error?: ComponentChildren; children: (f: FieldControl) => ComponentChildren }) {
  const id = useId()
  const described = [hint && `${id}h`, error && `${id}e`].filter(Boolean).join(' ')
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children({ id, ...(error ? { 'aria-invalid': 'true' } : {}), ...(described ? { 'aria-describedby': described } : {}) })}
      {hint && (
        <span class="hint" id={`${id}h`}>
          {hint}
        </span>
      )}
      {error && (
        <span class="error" id={`${id}e`} role="alert">
          {error}
        </span>
      )}
    </div>
  )
}

/** FilterInput narrows a list by a text that stands in the address. */
export function FilterInput({ param = 'q', placeholder }: { param?: string; placeholder?: string }) {
  const address = useAddress()
  return (
    <input
      class="input medium"
      type="search"
      aria-label={placeholder ?? w('filterHint')}
      placeholder={placeholder ?? w('filterHint')}
      value={address.get(param) ?? ''}
      onInput={(e) => address.set({ [param]: e.currentTarget.value }, { replace: true })}
    />
  )
}

/** ParamInput is a condition that stands in the address. It is set by Enter, by a choice or by leaving the field: what is half typed asks nothing. */
export function ParamInput({ param, label, placeholder, options, drop = [] }: { param: string; label: string; placeholder?: string; options?: readonly string[]; drop?: readonly string[] }) {
  const address = useAddress()
  const id = useId()
  const now = address.get(param) ?? ''
  const [draft, setDraft] = useState(now)
  useEffect(() => setDraft(now), [now])
  const set = (value: string) => {
    const v = value.trim()
    if (v !== now) address.set({ ...Object.fromEntries(drop.map((d) => [d, undefined])), [param]: v })
  }
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        class="input"
        type="search"
        autoComplete="off"
        placeholder={placeholder}
        list={options && options.length > 0 ? `${id}l` : undefined}
        value={draft}
        onInput={(e) => {
          const v = e.currentTarget.value
          setDraft(v)
          if (v === '' || options?.includes(v)) set(v)
        }}
        onBlur={() => set(draft)}
        onKeyDown={(e) => {
          if (e.key === 'Enter') set(draft)
        }}
      />
      {options && options.length > 0 && (
        <datalist id={`${id}l`}>
          {options.map((o) => (
            <option key={o} value={o} />
          ))}
        </datalist>
      )}
    </div>
  )
}

/** matches reports whether a text holds all words of a filter, in any order. */
export function matches(filter: string | undefined, ...texts: (string | undefined)[]): boolean {
  if (!filter) return true
  const all = texts.join(' ').toLowerCase()
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((part) => all.includes(part))
}
