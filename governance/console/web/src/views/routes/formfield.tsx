// One field of the form: what is typed stays as typed while it is being typed,
// and goes into the document as soon as it is a value.
import { useEffect, useState } from 'preact/hooks'
import { Field } from '~/ui/field'
import { same, shownAs, typed, type FieldType } from '~/views/routes/form'
import { t } from '~/views/routes/editwords'

interface Props {
  label: string
  type: FieldType
  value: unknown
  set: (value: unknown) => void
  /** What the server, or the reader of the document, says of it. */
  error?: string
  hint?: string
  example?: string
  /** Names to choose from. */
  list?: string
  /** One line, also of what may have several. */
  short?: boolean
}

export function TypedField({ label, type, value, set, error, hint, example, list, short }: Props) {
  const [text, setText] = useState(() => shownAs(type, value))
  const read = typed(type, text)
  useEffect(() => {
    // Somebody else changed it: the other side of the editor, or another version.
    const now = typed(type, text)
    if ('wrong' in now || !same(now.value, value ?? undefined)) setText(shownAs(type, value))
  }, [value])
  const change = (s: string) => {
    setText(s)
    const r = typed(type, s)
    if ('value' in r && !same(r.value, value ?? undefined)) set(r.value)
  }
  if (type === 'check') {
    return (
      <label class="check">
        <input type="checkbox" checked={value === true} onChange={(e) => set(e.currentTarget.checked || undefined)} />
        {label}
      </label>
    )
  }
  const problem = 'wrong' in read ? t(type === 'number' ? 'wrongNumber' : type === 'json' ? 'wrongJson' : 'wrongMap') : error
  return (
    <Field label={label} hint={hint} error={problem}>
      {(f) =>
        !short && (type === 'map' || type === 'json') ? (
          <textarea {...f} class="textarea code rt-low" rows={2} spellcheck={false} placeholder={example} value={text} onInput={(e) => change(e.currentTarget.value)} />
        ) : (
          <input {...f} class="input" inputMode={type === 'number' ? 'decimal' : undefined} autocomplete="off" spellcheck={false} placeholder={example} list={list} value={text} onInput={(e) => change(e.currentTarget.value)} />
        )
      }
    </Field>
  )
}
