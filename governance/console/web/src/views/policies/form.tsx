// The form of a policy: every field of the document, each with what is wrong with it.
import type { ComponentChildren } from 'preact'
import { FallbackFields, TargetFields, Choice, type Errors } from '~/policy/fields'
import { fromLocalTime, localTime, type PolicyForm } from '~/policy/form'
import { Card } from '~/ui/basic'
import { Field } from '~/ui/field'
import { words as w } from '~/views/policies/words'

interface Props {
  form: PolicyForm
  set: (patch: Partial<PolicyForm>) => void
  errors: Errors
  /** The name cannot be changed. */
  fixed: boolean
  /** It does not show what counts: the document cannot be read. */
  frozen: boolean
}

export function PolicyFields({ form: f, set, errors, fixed, frozen }: Props) {
  const text = (key: keyof PolicyForm & ('window' | 'minCalls' | 'errorPercent' | 'slowCall' | 'slowPercent' | 'openFor' | 'probes' | 'timeout' | 'concurrent'), place: string, label: string, hint: string, numeric?: boolean) => (
    <Field label={label} hint={hint} error={errors[place]}>
      {(c) => <input {...c} class="input" inputMode={numeric ? 'decimal' : undefined} value={f[key]} onInput={(e) => set({ [key]: e.currentTarget.value })} spellcheck={false} autoComplete="off" />}
    </Field>
  )
  return (
    <fieldset class="plain-fieldset" disabled={frozen}>
      <legend class="sr">{w('formSide')}</legend>
      <Card title={w('target')}>
        <div class="stack">
          <Choice
            label={w('kind')}
            value={f.kind}
            set={(kind) => set({ kind })}
            options={[
              { value: 'policy', label: w('kindPolicy'), hint: w('kindPolicyHint') },
              { value: 'switch', label: w('kindSwitch'), hint: w('kindSwitchHint') },
            ]}
            error={errors.kind}
          />
          <TargetFields value={f} set={set} errors={errors} />
          <Field label={w('name')} hint={fixed ? w('nameFixed') : w('nameHint')} error={errors.name}>
            {(c) => <input {...c} class="input" value={f.name} readOnly={fixed} onInput={(e) => set({ name: e.currentTarget.value })} spellcheck={false} autoComplete="off" />}
          </Field>
        </div>
      </Card>
      <Card title={w('breaker')}>
        <div class="stack">
          <Field label={w('mode')} error={errors['breaker.mode']}>
            {(c) => (
              <select {...c} class="select" value={f.mode} onChange={(e) => set({ mode: e.currentTarget.value })}>
                <option value="">{w('modeLeft')}</option>
                <option value="auto">{w('modeAuto')}</option>
                <option value="forcedOpen">{w('modeForcedOpen')}</option>
                <option value="forcedClosed">{w('modeForcedClosed')}</option>
                <option value="disabled">{w('modeDisabled')}</option>
              </select>
            )}
          </Field>
          <Group>
            {text('errorPercent', 'breaker.errorPercent', w('errorPercent'), w('errorPercentHint'), true)}
            {text('slowPercent', 'breaker.slowPercent', w('slowPercent'), w('slowPercentHint'), true)}
            {text('slowCall', 'breaker.slowCall', w('slowCall'), w('slowCallHint'))}
            {text('window', 'breaker.window', w('window'), w('windowHint'))}
            {text('minCalls', 'breaker.minCalls', w('minCalls'), w('minCallsHint'), true)}
            {text('openFor', 'breaker.openFor', w('openFor'), w('openForHint'))}
            {text('probes', 'breaker.probes', w('probes'), w('probesHint'), true)}
          </Group>
        </div>
      </Card>
      <Card title={w('limits')}>
        <Group>
          {text('timeout', 'timeout', w('timeout'), w('timeoutHint'))}
          {text('concurrent', 'bulkhead.concurrent', w('concurrent'), w('concurrentHint'), true)}
          <Field label={w('end')} hint={w('endHint')} error={errors.expires}>
            {(c) => <input {...c} class="input" type="datetime-local" step="1" value={localTime(f.expires)} onChange={(e) => set({ expires: e.currentTarget.value === '' ? '' : fromLocalTime(e.currentTarget.value) })} />}
          </Field>
        </Group>
      </Card>
      <Card title={w('fallback')}>
        <FallbackFields value={f.fallback} set={(fallback) => set({ fallback })} errors={errors} leave />
      </Card>
      <p class="muted">{w('left')}</p>
    </fieldset>
  )
}

function Group({ children }: { children: ComponentChildren }) {
  return <div class="fields">{children}</div>
}
