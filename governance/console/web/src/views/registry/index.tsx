import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import type { Schemas } from '~/api/client'
import { useAddress } from '~/app/address'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { Badge, Card } from '~/ui/basic'
import { FilterInput, matches } from '~/ui/field'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Callable, CalledBy, ClusterChoice, Doubts, Held, InClusters, registryPath } from '~/views/registry/parts'
import { words as w } from '~/views/registry/words'

type App = Schemas['RegistryApiApp']

const columns = (clusters: string[]): Column<App>[] => [
  { key: 'app', label: w('app'), cell: (a) => <Link href={registryPath({ namespace: a.app.namespace, name: a.app.name }, { cluster: a.app.cluster })}>{nameOf(a)}</Link>, sort: nameOf, class: 'name' },
  { key: 'callable', label: w('instances'), cell: (a) => <Callable callable={a.callable} kept={a.kept} standby={a.standby} instances={a.instances} />, sort: (a) => (a.instances === 0 ? 2 : (a.held + a.kept) / a.instances) },
  ...(clusters.length > 0 ? [{ key: 'clusters', label: w('clusters'), cell: (a: App) => <InClusters counts={a.clusters} order={clusters} brief /> }] : []),
  { key: 'held', label: w('held'), cell: (a) => (a.held > 0 ? <Held held={a.heldBack} /> : <span class="muted">–</span>), sort: (a) => a.held, class: 'name' },
  {
    key: 'mode',
    label: w('mode'),
    cell: (a) => <CalledBy mode={a.mode} modeFrom={a.modeFrom} choice={a.choice} choiceFrom={a.choiceFrom} brief />,
    sort: (a) => a.mode,
  },
  { key: 'protocols', label: w('protocols'), cell: (a) => a.protocols.join(', ') || <span class="muted">–</span>, sort: (a) => a.protocols.join() },
  { key: 'interfaces', label: w('interfaces'), cell: (a) => format.count(a.interfaces), sort: (a) => a.interfaces, end: true },
  { key: 'warnings', label: w('warnings'), cell: (a) => (a.warnings > 0 ? <Badge tone="warn">{a.warnings}</Badge> : <span class="muted">–</span>), sort: (a) => a.warnings, end: true },
]

const nameOf = (a: App) => `${a.app.namespace}/${a.app.name}`

export default function Registry() {
  const address = useAddress()
  const cluster = address.get('cluster')
  const query = useGet('/api/v1/registry', { query: { cluster } }, { every: 5_000 })
  const wrong = address.get('wrong') !== undefined
  return (
    <Page title={shared('registry')} lead={w('lead')}>
      <Loaded query={query}>
        {(list) => {
          const rows = list.items.filter((a) => matches(address.get('q'), nameOf(a), a.protocols.join(' ')) && (!wrong || a.held > 0 || a.kept > 0 || a.warnings > 0 || a.instances === 0))
          const clusters = (list.clusters ?? []).map((c) => c.name)
          return (
            <>
              <Doubts list={list} cluster={cluster} />
              <Card
                flush
                title={shared('apps')}
                actions={
                  <>
                    <label class="check">
                      <input type="checkbox" checked={wrong} onChange={(e) => address.set({ wrong: e.currentTarget.checked }, { replace: true })} />
                      {w('onlyHeld')}
                    </label>
                    <ClusterChoice clusters={clusters} />
                    <FilterInput />
                  </>
                }
              >
                <Table
                  label={shared('registry')}
                  columns={columns(clusters)}
                  rows={rows}
                  rowKey={nameOf}
                  order="-held"
                  empty={list.items.length === 0 ? <Empty title={w('empty')}>{w('emptyHint')}</Empty> : <Empty title={w('noMatch')} icon="filter" />}
                />
              </Card>
            </>
          )
        }}
      </Loaded>
    </Page>
  )
}
