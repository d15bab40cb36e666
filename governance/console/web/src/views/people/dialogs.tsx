import { useState } from 'preact/hooks'
import type { Schemas } from '~/api/client'
import { Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { ReasonDialog } from '~/ui/dialog'
import { splitNames } from '~/views/people/names'
import { words as w } from '~/views/people/words'

type Account = Schemas['AccessAccount']
type Role = Account['role']
const roles = ['viewer', 'operator', 'admin'] as const

interface AccountForm {
  name: string
  role: Role
  namespaces: string[]
  disabled: boolean
}

function RoleField({ role, set }: { role: Role; set: (r: Role) => void }) {
  return (
    <Field label={w('role')} hint={w(`hint.${role}`)}>
      {(f) => (
        <select {...f} class="select" value={role} onChange={(e) => set(e.currentTarget.value as Role)}>
          {roles.map((r) => (
            <option key={r} value={r}>
              {w(`role.${r}`)}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}

function NamespacesField({ text, set }: { text: string; set: (v: string) => void }) {
  return (
    <Field label={w('namespaces')} hint={w('namespacesHint')}>
      {(f) => <input {...f} class="input" value={text} onInput={(e) => set(e.currentTarget.value)} />}
    </Field>
  )
}

function NameField({ name, set }: { name: string; set: (v: string) => void }) {
  return (
    <Field label={w('name')} hint={w('nameHint')}>
      {(f) => <input {...f} class="input" required maxLength={63} value={name} onInput={(e) => set(e.currentTarget.value)} autoComplete="off" autoFocus />}
    </Field>
  )
}

export function AccountDialog({ account, onClose, save }: { account?: Account; onClose: () => void; save: (a: AccountForm, reason: string) => Promise<void> }) {
  const [name, setName] = useState(account?.name ?? '')
  const [role, setRole] = useState<Role>(account?.role ?? 'viewer')
  const [namespaces, setNamespaces] = useState(account?.namespaces?.join(', ') ?? '')
  const [disabled, setDisabled] = useState(account?.disabled ?? false)
  return (
    <ReasonDialog
      title={account ? w('editTitle', { name: account.name }) : w('newAccount')}
      act={account ? w('edit') : w('create')}
      onClose={onClose}
      run={(reason) => save({ name: name.trim(), role, namespaces: splitNames(namespaces), disabled }, reason)}
    >
      {!account && <NameField name={name} set={setName} />}
      <RoleField role={role} set={setRole} />
      <NamespacesField text={namespaces} set={setNamespaces} />
      {account && (
        <label class="check">
          <input type="checkbox" checked={disabled} onChange={(e) => setDisabled(e.currentTarget.checked)} />
          {w('disable')}
        </label>
      )}
      {account && disabled && !account.disabled && <TokensOf account={account} fate="tokensSuspended" />}
    </ReasonDialog>
  )
}

/** TokensOf warns of what becomes of the tokens of an account. */
export function TokensOf({ account, fate }: { account: Account; fate: 'tokensSuspended' | 'tokensEnd' }) {
  if (!account.tokens) return null
  return <Notice tone="warn">{w(fate, { n: account.tokens })}</Notice>
}

const lifetimes = [30, 90, 365, 0]

export function TokenDialog({ onClose, save }: { onClose: () => void; save: (t: Schemas['AccessApiNewToken'], reason: string) => Promise<void> }) {
  const [name, setName] = useState('')
  const [kind, setKind] = useState<'token' | 'serviceaccount'>('token')
  const [role, setRole] = useState<Role>('viewer')
  const [namespaces, setNamespaces] = useState('')
  const [days, setDays] = useState(90)
  return (
    <ReasonDialog
      title={w('newToken')}
      act={w('create')}
      onClose={onClose}
      run={(reason) =>
        save(
          {
            name: name.trim(),
            kind,
            namespaces: splitNames(namespaces),
            ...(kind === 'token' ? { role } : {}),
            ...(days > 0 ? { expires: new Date(Date.now() + days * 86_400_000).toISOString() } : {}),
          },
          reason,
        )
      }
    >
      <NameField name={name} set={setName} />
      <Field label={w('kind')}>
        {(f) => (
          <select {...f} class="select" value={kind} onChange={(e) => setKind(e.currentTarget.value as typeof kind)}>
            <option value="token">{w('kind.token')}</option>
            <option value="serviceaccount">{w('kind.serviceaccount')}</option>
          </select>
        )}
      </Field>
      {kind === 'token' && <RoleField role={role} set={setRole} />}
      <NamespacesField text={namespaces} set={setNamespaces} />
      <Field label={w('validFor')}>
        {(f) => (
          <select {...f} class="select" value={String(days)} onChange={(e) => setDays(Number(e.currentTarget.value))}>
            {lifetimes.map((d) => (
              <option key={d} value={String(d)}>
                {d === 0 ? w('forever') : w('days', { n: d })}
              </option>
            ))}
          </select>
        )}
      </Field>
    </ReasonDialog>
  )
}
