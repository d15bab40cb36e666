import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useAddress } from '~/app/address'
import * as format from '~/i18n/format'
import { Button, Card } from '~/ui/basic'
import { Table, type Column } from '~/ui/table'
import type { Trace } from './rows'
import { serviceOf, share, took } from './show'
import { groups, type Group } from './stats'
import { words as w } from './words'

/** Statistics adds the spans up. Every line leads to its spans. */
export function Statistics({ trace, colors }: { trace: Trace; colors: ReadonlyMap<string, string> }) {
  const address = useAddress()
  const by = address.get('by') === 'app' ? 'app' : 'name'
  const rows = useMemo(() => groups(trace.spans, by), [trace, by])
  const all = useMemo(() => rows.reduce((sum, g) => sum + g.critical, 0), [rows])
  const columns: Column<Group>[] = [
    {
      key: 'app',
      label: w('colApp'),
      sort: (g) => g.service,
      cell: (g) => (
        <span class="row tight">
          <span class="swatch" style={{ background: `var(${colors.get(g.service) ?? '--c8'})` }} aria-hidden="true" />
          <Link href={address.with({ tab: undefined, find: g.name === undefined ? g.service : `${g.service} ${g.name}` })}>{serviceOf(g.service)}</Link>
        </span>
      ),
    },
    ...(by === 'name' ? [{ key: 'name', label: w('colName'), sort: (g: Group) => g.name ?? '', cell: (g: Group) => g.name || '–', class: 'name' }] : []),
    { key: 'spans', label: w('colSpans'), end: true, sort: (g) => g.spans, cell: (g) => format.count(g.spans) },
    { key: 'critical', label: w('colCritical'), end: true, sort: (g) => g.critical, cell: (g) => (g.critical === 0 ? '–' : `${took(g.critical)} · ${share(g.critical, all)}`) },
    { key: 'self', label: w('colSelf'), end: true, sort: (g) => g.self, cell: (g) => took(g.self) },
    { key: 'total', label: w('colTotal'), end: true, sort: (g) => g.total, cell: (g) => took(g.total) },
    { key: 'mean', label: w('colMean'), end: true, sort: (g) => g.total / g.spans, cell: (g) => took(g.total / g.spans) },
    { key: 'longest', label: w('colLongest'), end: true, sort: (g) => g.longest, cell: (g) => took(g.longest) },
    { key: 'errors', label: w('colErrors'), end: true, sort: (g) => g.errors, cell: (g) => (g.errors === 0 ? '0' : <span class="bad-text">{format.count(g.errors)}</span>) },
    { key: 'refused', label: w('colRefused'), end: true, sort: (g) => g.refused, cell: (g) => format.count(g.refused) },
  ]
  return (
    <Card
      flush
      title={w('statistics')}
      actions={
        <div class="segmented" role="group" aria-label={w('statsBy')}>
          <Button small aria-pressed={by === 'name'} onClick={() => address.set({ by: undefined }, { replace: true })}>
            {w('byName')}
          </Button>
          <Button small aria-pressed={by === 'app'} onClick={() => address.set({ by: 'app' }, { replace: true })}>
            {w('byApp')}
          </Button>
        </div>
      }
    >
      <Table label={w('statistics')} columns={columns} rows={rows} rowKey={(g) => g.key} order="-critical" />
    </Card>
  )
}
