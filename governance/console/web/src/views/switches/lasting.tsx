import * as format from '~/i18n/format'
import { Choice } from '~/policy/fields'
import { Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { lasts, presets, type Preset } from '~/views/switches/pull'
import { words as w } from '~/views/switches/words'
import { words as pw } from '~/policy/words'

/** Lasting chooses for how long a switch is pulled. */
export function Lasting<T extends { preset: Preset; own: string }>({ value: v, set }: { value: T; set: (v: T) => void }) {
  return (
    <div class="stack tight">
      <Choice
        label={w('forHowLong')}
        value={v.preset}
        set={(preset) => set({ ...v, preset })}
        options={presets.map((p) => ({ value: p, label: p === 'never' || p === 'own' ? w(p) : format.span(format.goDuration(p) / 1000) }))}
      />
      {v.preset === 'own' && (
        <Field label={w('ownLabel')} hint={w('ownHint')} error={v.own.trim() !== '' && Number.isNaN(lasts(v)) ? pw('troubleDuration') : undefined}>
          {(f) => <input {...f} class="input short" value={v.own} onInput={(e) => set({ ...v, own: e.currentTarget.value })} />}
        </Field>
      )}
      {v.preset === 'never' && <Notice tone="warn">{w('neverWarns')}</Notice>}
    </div>
  )
}
