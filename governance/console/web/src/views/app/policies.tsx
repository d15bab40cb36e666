// The policies about an application.
import type { UseQueryResult } from '@tanstack/preact-query'
import { Link } from 'wouter-preact'
import type { Problem, Schemas } from '~/api/client'
import { Coverage } from '~/policy/parts'
import { rules } from '~/policy/sentence'
import { Badge, Card } from '~/ui/basic'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Ago, Time } from '~/ui/time'
import type { Detail } from './instances'
import { policyPath } from './marks'
import { words as w } from './words'

type Answer = Schemas['GovernanceApiPolicyAnswer']

export function Policies({ detail }: { detail: UseQueryResult<Detail, Problem> }) {
  return (
    <Loaded
      query={detail}
      isEmpty={(d) => (d.policies ?? []).length === 0}
      empty={
        <Empty icon="policies" title={w('noPolicies')}>
          {w('noPoliciesHint')}
        </Empty>
      }
    >
      {(d) => (
        <Card flush title={w('policies')}>
          <Table label={w('policies')} columns={columnsOf()} rows={d.policies ?? []} rowKey={(p) => `${p.policy.namespace}/${p.policy.name}`} order="policy" />
        </Card>
      )}
    </Loaded>
  )
}

function where(p: Answer): string {
  const t = p.policy.target
  if (t.at !== 'caller') return w('atProvider')
  return (t.from ?? []).length === 0 ? w('atCaller') : w('atCallerFrom', { from: t.from!.join(', ') })
}

function columnsOf(): Column<Answer>[] {
  const key = (p: Answer) => `${p.policy.namespace}/${p.policy.name}`
  return [
    {
      key: 'policy', label: w('policy'), class: 'name', sort: key,
      cell: (p) => (
        <span class="row tight">
          <Link href={policyPath(key(p))}>{key(p)}</Link>
          {p.policy.kind === 'switch' ? <Badge tone="forced" icon="lock">{w('kindSwitch')}</Badge> : <Badge tone="info" icon="policies">{w('kindPolicy')}</Badge>}
        </span>
      ),
    },
    { key: 'command', label: w('command'), sort: (p) => p.policy.target.command, cell: (p) => (p.policy.target.command ? <code>{p.policy.target.command}</code> : w('all')) },
    { key: 'where', label: w('where'), cell: where },
    {
      key: 'does', label: w('does'),
      cell: (p) => (
        <span class="fields">
          {rules(p.policy).map((r) => (
            <span key={r}>{r}</span>
          ))}
        </span>
      ),
    },
    { key: 'confirmed', label: w('confirmed'), cell: (p) => <Coverage of={p.confirmation} /> },
    {
      key: 'ends', label: w('ends'), sort: (p) => p.policy.expires,
      cell: (p) => (p.expired ? <Badge tone="idle">{w('expired')}</Badge> : p.policy.expires ? <Ago at={p.policy.expires} /> : <span class="muted">{w('never')}</span>),
    },
    {
      key: 'why', label: w('why'),
      cell: (p) => (
        <span class="why">
          {p.reason} <span class="muted">{w('byActor', { actor: p.actor })}, <Time at={p.created} /></span>
        </span>
      ),
    },
    { key: 'version', label: w('version'), end: true, sort: (p) => p.version, cell: (p) => p.version },
  ]
}
