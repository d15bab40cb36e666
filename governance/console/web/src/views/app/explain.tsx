// What holds for one command, which policy said so, and what became of the others.
import { Link } from 'wouter-preact'
import type { Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { since, useAddress } from '~/app/address'
import * as format from '~/i18n/format'
import { seriesKey } from '~/live/store'
import { Said } from '~/said'
import { Card, Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { chosenOf, found, type Chosen, type CommandTotal, type Place } from './commands'
import { fields, sourceOf, type Field as Rule } from './fields'
import { policyPath } from './marks'
import { words as w } from './words'

type Explanation = Schemas['GovernanceApiExplanation']
type Considered = Schemas['GovernanceApiConsidered']

export function Explain({ app, namespace, name, range }: Place) {
  const address = useAddress()
  const commands = useGet('/api/v1/apps/{namespace}/{name}/commands', { path: { namespace, name }, query: since(range) })
  const items = commands.data?.items ?? []
  // Where nobody chose, the first is told: it does not change with figures.
  const chosen = found(chosenOf(address.get), items, address.get('at') !== undefined) ?? firstOf(items)
  const choose = (key: string) => {
    const c = items.find((x) => seriesKey(x) === key)
    if (c) address.set({ command: c.command, at: c.at, peer: c.peer })
  }
  const known = chosen && items.some((c) => seriesKey(c) === seriesKey(chosen))
  return (
    <>
      <Loaded query={commands} isEmpty={(d) => d.items.length === 0 && !chosen} empty={<Empty icon="why" title={w('noCommands')}>{w('noCommandsHint')}</Empty>}>
        {() => (
          <Field label={w('chooseCommand')}>
            {(f) => (
              <select {...f} class="select" value={chosen ? seriesKey(chosen) : ''} onChange={(e) => choose(e.currentTarget.value)}>
                {chosen && !known && <option value={seriesKey(chosen)}>{chosen.command}</option>}
                {items.map((c) => (
                  <option key={seriesKey(c)} value={seriesKey(c)}>
                    {c.at === 'caller' ? `${c.command} (${c.peer ? w('callsPeer', { peer: c.peer }) : w('caller')})` : c.command}
                  </option>
                ))}
              </select>
            )}
          </Field>
        )}
      </Loaded>
      {chosen && <Answer key={seriesKey(chosen)} app={app} chosen={chosen} />}
    </>
  )
}

function firstOf(items: readonly CommandTotal[]): Chosen | undefined {
  const first = [...items].sort((a, b) => Number(a.at === 'caller') - Number(b.at === 'caller') || a.command.localeCompare(b.command))[0]
  return first && found({ command: first.command, at: 'provider' }, [first], false)
}

function Answer({ app, chosen }: { app: string; chosen: Chosen }) {
  const calls = chosen.at === 'caller' && chosen.peer !== undefined
  // What is enforced where calls are made is about the application that serves them.
  const [namespace = '', name = ''] = (calls ? chosen.peer! : app).split('/')
  const query = useGet('/api/v1/apps/{namespace}/{name}/explain', {
    path: { namespace, name }, query: { command: chosen.command, at: chosen.at, from: calls ? app : undefined },
  }, { every: 10_000 })
  return (
    <Loaded query={query}>
      {(e) => (
        <>
          <Card flush title={w('explainTitle', { command: chosen.command })} actions={<span class="muted side">{calls ? w('explainFrom', { from: app, app: chosen.peer! }) : w('explainAt', { app })}</span>}>
            {e.until && <Notice tone="info">{w('until', { time: format.time(e.until) })}</Notice>}
            <Table label={w('rules')} param="rsort" columns={ruleColumns(e)} rows={fields(e.rules)} rowKey={(r) => r.field} empty={<Empty title={w('noRules')} />} />
          </Card>
          <Card flush title={w('considered')}>
            <Table label={w('considered')} columns={consideredColumns()} rows={e.considered ?? []} rowKey={(c) => c.policy} empty={<Empty title={w('nothingConsidered')} />} />
          </Card>
        </>
      )}
    </Loaded>
  )
}

function Source({ of: s }: { of: Schemas['GovernanceSource'] | undefined }) {
  if (!s) return <span class="muted">–</span>
  return (
    <Link href={policyPath(s.policy, s.version)}>
      {s.policy} <span class="muted">v{s.version}</span>
    </Link>
  )
}

function ruleColumns(e: Explanation): Column<Rule>[] {
  return [
    { key: 'field', label: w('field'), cell: (r) => <code>{r.field}</code> },
    { key: 'value', label: w('value'), class: 'name', cell: (r) => <code>{r.value}</code> },
    { key: 'from', label: w('from'), cell: (r) => <Source of={sourceOf(r.field, e.sources)} /> },
  ]
}

function consideredColumns(): Column<Considered>[] {
  return [
    { key: 'policy', label: w('policy'), sort: (c) => c.policy, cell: (c) => <Source of={c} /> },
    { key: 'verdict', label: w('verdict'), cell: (c) => <Said text={c.verdict} /> },
  ]
}
