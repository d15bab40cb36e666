import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
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

/** matches reports whether a text holds all words of a filter, in any order. */
export function matches(filter: string | undefined, ...texts: (string | undefined)[]): boolean {
  if (!filter) return true
  const all = texts.join(' ').toLowerCase()
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((part) => all.includes(part))
}
