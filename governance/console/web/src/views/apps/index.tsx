// Every application and how it is, the worst first.
import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { appPath, useAddress } from '~/app/address'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { lang } from '~/i18n'
import type { AppHealth } from '~/live/store'
import { Badge, Button, Card, Notice } from '~/ui/basic'
import { FilterInput, matches } from '~/ui/field'
import { Page } from '~/ui/page'
import { Empty, ErrorBox, Loading } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Old, Percent, Standing, useHealth } from '~/views/app/health'
import { badness, troubled } from '~/views/app/standing'
import { words as w } from '~/views/app/words'
import './apps.css'

export default function Apps() {
  const address = useAddress()
  const state = useHealth()
  const { items, query } = state
  const q = address.get('q')
  const only = address.get('troubled') !== undefined
  const columns = useMemo(columnsOf, [lang.value])
  const shown = useMemo(
    // By name first: applications that stand alike stay where they are while figures move.
    () => (items ?? []).filter((h) => matches(q, h.app) && (!only || troubled(h))).sort((a, b) => a.app.localeCompare(b.app)),
    [items, q, only],
  )
  const bad = useMemo(() => (items ?? []).filter(troubled).length, [items])
  return (
    <Page title={shared('apps')} lead={w('lead')}>
      <Old of={state} />
      {state.from === 'answer' && query.data?.cut && <Notice tone="warn">{shared('cut')}</Notice>}
      {items === undefined ? (
        query.error ? (
          <ErrorBox error={query.error} retry={() => void query.refetch()} />
        ) : (
          <Loading lines={8} />
        )
      ) : items.length === 0 ? (
        <Empty icon="apps" title={w('noApps')}>
          {w('noAppsHint')}
        </Empty>
      ) : (
        <Card
          flush
          title={
            <span class="row tight">
              {w('countApps', { n: items.length })}
              {bad > 0 && <Badge tone="warn">{w('countTroubled', { n: bad })}</Badge>}
            </span>
          }
          actions={
            <>
              <Button small aria-pressed={only} onClick={() => address.set({ troubled: only ? undefined : '1' }, { replace: true })}>
                {w('onlyTroubled')}
              </Button>
              <FilterInput />
            </>
          }
        >
          <Table label={shared('apps')} columns={columns} rows={shown} rowKey={(h) => h.app} order="-state" empty={<Empty title={w('noMatch')} />} />
          {items.every((h) => h.app.startsWith('weir-system/')) && (
            <Empty title={w('noneYet')} icon="apps">
              {w('noAppsHint')}
            </Empty>
          )}
        </Card>
      )}
    </Page>
  )
}

function columnsOf(): Column<AppHealth>[] {
  const calls = (h: AppHealth) => h.rate > 0
  return [
    { key: 'app', label: w('app'), sort: (h) => h.app, class: 'name app-name', cell: (h) => <Link href={appPath(h.app)}>{h.app}</Link> },
    { key: 'state', label: w('state'), sort: badness, cell: (h) => <Standing of={h} /> },
    { key: 'rate', label: w('rate'), end: true, sort: (h) => h.rate, cell: (h) => <span title={sideWord(h.side)}>{format.rate(h.rate)}</span> },
    { key: 'errors', label: w('errorRate'), end: true, sort: (h) => h.errorPercent, cell: (h) => <Percent v={h.errorPercent} calls={calls(h)} /> },
    { key: 'refused', label: w('refusedRate'), end: true, sort: (h) => h.refusedPercent, cell: (h) => <Percent v={h.refusedPercent} calls={calls(h)} /> },
    { key: 'p50', label: w('p50'), end: true, sort: (h) => h.p50Ms, cell: (h) => format.ms(h.p50Ms) },
    { key: 'p99', label: w('p99'), end: true, sort: (h) => h.p99Ms, cell: (h) => format.ms(h.p99Ms) },
    { key: 'inflight', label: w('inFlight'), end: true, sort: (h) => h.inFlight, cell: (h) => format.count(h.inFlight) },
    { key: 'instances', label: w('instances'), end: true, sort: (h) => h.live, cell: (h) => <Link href={appPath(h.app, { tab: 'instances' })}>{w('liveOf', { n: h.live })}</Link> },
  ]
}

function sideWord(side: string): string {
  return side === 'caller' ? w('asCaller') : side === 'both' ? w('asBoth') : side === 'unseen' ? w('asUnseen') : w('asProvider')
}
