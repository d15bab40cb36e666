import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import { words as shared } from '~/app/words'
import { standing } from '~/policy/confirm'
import { keyOf, policyPath, type PolicyAnswer } from '~/policy/model'
import { Coverage, MayWrite, mayWrite, TargetText, Until } from '~/policy/parts'
import { sentence, where } from '~/policy/sentence'
import { words as pw } from '~/policy/words'
import { Badge, Button, Card } from '~/ui/basic'
import { FilterInput, matches } from '~/ui/field'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Ago } from '~/ui/time'
import { words as w } from '~/views/policies/words'
import '~/views/policies/policies.css'

export default function Policies(_: ViewProps) {
  const address = useAddress()
  const kind = address.get('kind')
  const app = address.get('app')
  const expired = address.get('expired') === 'true'
  const list = useGet('/api/v1/policies', { query: { status: true, ...(expired ? { expired } : {}) } }, { every: 10_000 })
  const write = mayWrite()
  const items = list.data?.items ?? []
  const apps = [...new Set(items.map((p) => p.policy.target.app))].sort()
  const filter = address.get('q')
  const rows = items.filter(
    (p) =>
      (!kind || p.policy.kind === kind) &&
      (!app || p.policy.target.app === app) &&
      matches(filter, keyOf(p.policy), p.policy.target.app, p.policy.target.command, where(p.policy.target), p.actor, p.reason),
  )
  const create = write && (
    <Link class="btn primary" href={app ? `/policies/new?app=${encodeURIComponent(app)}` : '/policies/new'}>
      {w('new')}
    </Link>
  )
  return (
    <Page title={w('title')} lead={w('lead')} actions={create}>
      {!write && <MayWrite>{null}</MayWrite>}
      <div class="row">
        <FilterInput placeholder={w('filter')} />
        <select class="select policies-app" aria-label={w('app')} value={app ?? ''} onChange={(e) => address.set({ app: e.currentTarget.value })}>
          <option value="">{w('allApps')}</option>
          {[...new Set([...apps, ...(app ? [app] : [])])].map((a) => (
            <option key={a} value={a}>
              {a}
            </option>
          ))}
        </select>
        <div class="segmented" role="group" aria-label={w('kind')}>
          {([undefined, 'policy', 'switch'] as const).map((k) => (
            <Button key={k ?? ''} aria-pressed={kind === k} onClick={() => address.set({ kind: k })}>
              {k === undefined ? w('all') : w(k === 'policy' ? 'policies' : 'switches')}
            </Button>
          ))}
        </div>
        <label class="check">
          <input type="checkbox" checked={expired} onChange={(e) => address.set({ expired: e.currentTarget.checked })} />
          {w('expired')}
        </label>
      </div>
      <Loaded
        query={list}
        isEmpty={() => items.length === 0}
        empty={
          <Card>
            <Empty title={w('none')} icon="policies" action={create}>
              {w('noneHint')}
            </Empty>
          </Card>
        }
      >
        {() => (
          <Card flush>
            <Table<PolicyAnswer> label={w('title')} columns={columns()} rows={rows} rowKey={(p) => keyOf(p.policy)} order="coverage" empty={<Empty title={w('noneFilter')} action={<Button onClick={() => address.set({ q: undefined, app: undefined, kind: undefined })}>{shared('clear')}</Button>} />} />
          </Card>
        )}
      </Loaded>
    </Page>
  )
}

// Those that somebody refused come first, then those that are waited for.
const trouble = { refused: 0, waiting: 1, nobody: 2, all: 3 }

function columns(): Column<PolicyAnswer>[] {
  return [
    {
      key: 'target',
      label: w('target'),
      cell: (p) => (
        <span class="stack tight">
          <TargetText target={p.policy.target} />
        </span>
      ),
      sort: (p) => `${p.policy.target.app} ${p.policy.target.command ?? ''}`,
      class: 'name',
    },
    {
      key: 'does',
      label: w('does'),
      cell: (p) => (
        <span>
          {p.policy.kind === 'switch' && (
            <>
              <Badge tone="forced">{pw('switch')}</Badge>{' '}
            </>
          )}
          <Link href={policyPath(keyOf(p.policy))}>{sentence(p.policy)}</Link>
        </span>
      ),
      class: 'name',
    },
    { key: 'coverage', label: w('coverage'), cell: (p) => (p.expired ? <Badge>{pw('over')}</Badge> : <Coverage of={p.confirmation} />), sort: (p) => (p.confirmation && !p.expired ? trouble[standing(p.confirmation)] : 9) },
    { key: 'expires', label: w('expires'), cell: (p) => <Until expires={p.policy.expires} />, sort: (p) => p.policy.expires, end: true },
    { key: 'version', label: w('version'), cell: (p) => p.version, sort: (p) => p.version, end: true },
    {
      key: 'changed',
      label: w('changed'),
      cell: (p) => (
        <span>
          <Ago at={p.created} /> <span class="muted">{p.actor}</span>
          <br />
          <span class="muted">{p.reason}</span>
        </span>
      ),
      sort: (p) => p.created,
      class: 'name',
    },
  ]
}
