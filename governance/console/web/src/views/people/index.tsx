import { useState } from 'preact/hooks'
import { answer, api, because, type Schemas } from '~/api/client'
import { refresh, useGet } from '~/api/query'
import { clock } from '~/app/clock'
import { can, me } from '~/app/session'
import { words as shared } from '~/app/words'
import { Badge, Button, Card, Notice } from '~/ui/basic'
import { Copy } from '~/ui/copy'
import { Dialog, ReasonDialog } from '~/ui/dialog'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { Ago, Time } from '~/ui/time'
import { toast } from '~/ui/toast'
import { AccountDialog, TokenDialog, TokensOf } from '~/views/people/dialogs'
import { words as w } from '~/views/people/words'

type Account = Schemas['AccessAccount']
type Token = Schemas['AccessToken']
type Role = Account['role']

interface Secret {
  text: string
  secret: string
}

export default function People() {
  const [secret, setSecret] = useState<Secret>()
  if (!can('admin')) {
    return (
      <Page title={shared('people')}>
        <Notice>{w('adminOnly', { role: roleWord(me.value?.role ?? 'viewer') })}</Notice>
      </Page>
    )
  }
  return (
    <Page title={shared('people')} lead={w('lead')}>
      <Accounts show={setSecret} />
      <Tokens show={setSecret} />
      {secret && (
        <Dialog title={w('secretTitle')} onClose={() => setSecret(undefined)}>
          <p>{secret.text}</p>
          <div class="row tight">
            <code class="chip">{secret.secret}</code>
            <Copy text={secret.secret} />
          </div>
          <footer>
            <Button kind="primary" onClick={() => setSecret(undefined)}>
              {w('gotIt')}
            </Button>
          </footer>
        </Dialog>
      )}
    </Page>
  )
}

export function roleWord(role: string): string {
  const key = `role.${role}`
  return w.has(key) ? w(key) : role
}

function Namespaces({ of }: { of: readonly string[] | undefined | null }) {
  return of?.length ? <>{of.join(', ')}</> : <span class="muted">{w('all')}</span>
}

type Asked = { kind: 'new' } | { kind: 'edit' | 'remove' | 'reset'; account: Account }

function Accounts({ show }: { show: (s: Secret) => void }) {
  const query = useGet('/api/v1/accounts')
  const [asked, setAsked] = useState<Asked>()
  const close = () => setAsked(undefined)
  const done = () => refresh('/api/v1/accounts', '/api/v1/audit')
  const own = (a: Account) => me.value?.kind === 'user' && me.value.name === a.name
  return (
    <Card
      flush
      title={w('people')}
      actions={
        <Button small kind="primary" icon="plus" onClick={() => setAsked({ kind: 'new' })}>
          {w('newAccount')}
        </Button>
      }
    >
      <Loaded query={query}>
        {(list) => (
          <Table
            label={w('people')}
            rows={list.items}
            rowKey={(a) => a.name}
            order="name"
            columns={[
              { key: 'name', label: w('name'), cell: (a) => <span class="row tight">{a.name} {own(a) && <Badge tone="info" icon="user">{w('you')}</Badge>}</span>, sort: (a) => a.name, class: 'name' },
              { key: 'role', label: w('role'), cell: (a) => roleWord(a.role), sort: (a) => a.role },
              { key: 'namespaces', label: w('namespaces'), cell: (a) => <Namespaces of={a.namespaces} />, class: 'name' },
              { key: 'state', label: w('state'), cell: (a) => <Badge tone={a.disabled ? 'idle' : 'ok'}>{w(a.disabled ? 'disabledState' : 'active')}</Badge>, sort: (a) => (a.disabled ? 1 : 0) },
              { key: 'login', label: w('lastLogin'), cell: (a) => (a.lastLogin ? <Ago at={a.lastLogin} /> : <span class="muted">{w('never')}</span>), sort: (a) => a.lastLogin },
              { key: 'created', label: w('created'), cell: (a) => <Time at={a.created} />, sort: (a) => a.created },
              {
                key: 'do',
                label: '',
                cell: (a) => (
                  <span class="row tight">
                    <Button small onClick={() => setAsked({ kind: 'edit', account: a })}>{w('edit')}</Button>
                    <Button small onClick={() => setAsked({ kind: 'reset', account: a })}>{w('reset')}</Button>
                    {!own(a) && <Button small kind="danger" onClick={() => setAsked({ kind: 'remove', account: a })}>{w('remove')}</Button>}
                  </span>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      {asked?.kind === 'new' && (
        <AccountDialog
          onClose={close}
          save={async (a, reason) => {
            const made = await answer(api.POST('/api/v1/accounts', { body: { name: a.name, role: a.role, namespaces: a.namespaces }, headers: because(reason) }))
            done()
            if (made.password) show({ text: w('secretPassword', { name: a.name }), secret: made.password })
          }}
        />
      )}
      {asked?.kind === 'edit' && (
        <AccountDialog
          account={asked.account}
          onClose={close}
          save={async (a, reason) => {
            await answer(api.PATCH('/api/v1/accounts/{name}', { params: { path: { name: a.name } }, body: { role: a.role, namespaces: a.namespaces, disabled: a.disabled }, headers: because(reason) }))
            done()
            toast(w('saved', { name: a.name }))
          }}
        />
      )}
      {asked?.kind === 'reset' && (
        <ReasonDialog
          title={w('resetTitle', { name: asked.account.name })}
          act={w('reset')}
          onClose={close}
          run={async (reason) => {
            const name = asked.account.name
            const made = await answer(api.POST('/api/v1/accounts/{name}/reset-password', { params: { path: { name } }, headers: because(reason) }))
            done()
            show({ text: w('secretPassword', { name }), secret: made.password })
          }}
        >
          <p>{w('resetHint')}</p>
        </ReasonDialog>
      )}
      {asked?.kind === 'remove' && (
        <ReasonDialog
          danger
          title={w('removeTitle', { name: asked.account.name })}
          act={w('remove')}
          onClose={close}
          run={async (reason) => {
            await answer(api.DELETE('/api/v1/accounts/{name}', { params: { path: { name: asked.account.name } }, headers: because(reason) }))
            done()
            toast(w('deleted', { name: asked.account.name }))
          }}
        >
          <p>{w('removeHint')}</p>
          <TokensOf account={asked.account} fate="tokensEnd" />
        </ReasonDialog>
      )}
    </Card>
  )
}

function Tokens({ show }: { show: (s: Secret) => void }) {
  const query = useGet('/api/v1/tokens')
  const [making, setMaking] = useState(false)
  const [revoking, setRevoking] = useState<Token>()
  const done = () => refresh('/api/v1/tokens', '/api/v1/accounts', '/api/v1/audit')
  return (
    <Card
      flush
      title={w('tokens')}
      actions={
        <Button small kind="primary" icon="plus" onClick={() => setMaking(true)}>
          {w('newToken')}
        </Button>
      }
    >
      <Loaded query={query}>
        {(list) => (
          <Table
            label={w('tokens')}
            param="tsort"
            rows={list.items}
            rowKey={(t) => t.name}
            order="name"
            empty={<Empty title={w('noTokens')} icon="lock">{w('noTokensHint')}</Empty>}
            columns={[
              { key: 'name', label: w('name'), cell: (t) => t.name, sort: (t) => t.name, class: 'name' },
              { key: 'kind', label: w('kind'), cell: (t) => <Kind kind={t.kind} /> },
              { key: 'role', label: w('role'), cell: (t) => (t.role ? roleWord(t.role) : <span class="muted">–</span>), sort: (t) => t.role },
              { key: 'namespaces', label: w('namespaces'), cell: (t) => <Namespaces of={t.namespaces} />, class: 'name' },
              { key: 'used', label: w('lastUsed'), cell: (t) => (t.lastUsed ? <Ago at={t.lastUsed} /> : <span class="muted">{w('never')}</span>), sort: (t) => t.lastUsed },
              { key: 'expires', label: w('expires'), cell: (t) => (t.suspended ? <Badge tone="idle" title={w('suspendedHint', { name: t.owner ?? '' })}>{w('suspended')}</Badge> : <Expires token={t} />), sort: (t) => t.expires },
              { key: 'by', label: w('createdBy'), cell: (t) => <span title={t.created}>{t.createdBy}</span>, sort: (t) => t.createdBy, class: 'name' },
              { key: 'do', label: '', cell: (t) => <Button small kind="danger" onClick={() => setRevoking(t)}>{w('revoke')}</Button> },
            ]}
          />
        )}
      </Loaded>
      {making && (
        <TokenDialog
          onClose={() => setMaking(false)}
          save={async (t, reason) => {
            const made = await answer(api.POST('/api/v1/tokens', { body: t, headers: because(reason) }))
            done()
            show({ text: w('secretToken', { name: t.name }), secret: made.secret })
          }}
        />
      )}
      {revoking && (
        <ReasonDialog
          danger
          title={w('revokeTitle', { name: revoking.name })}
          act={w('revoke')}
          onClose={() => setRevoking(undefined)}
          run={async (reason) => {
            await answer(api.DELETE('/api/v1/tokens/{name}', { params: { path: { name: revoking.name } }, headers: because(reason) }))
            done()
            toast(w('revoked', { name: revoking.name }))
          }}
        >
          <p>{w('revokeHint')}</p>
        </ReasonDialog>
      )}
    </Card>
  )
}

function Kind({ kind }: { kind: string }) {
  const key = `kind.${kind}`
  return <>{w.has(key) ? w(key) : kind}</>
}

function Expires({ token: t }: { token: Token }) {
  if (!t.expires) return <span class="muted">{w('forever')}</span>
  if (Date.parse(t.expires) < clock.value) return <Badge tone="idle">{w('expired')}</Badge>
  return <Ago at={t.expires} />
}

export type { Account, Role }
