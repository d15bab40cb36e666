import { useQueries } from '@tanstack/preact-query'
import { useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { answer, api, because, type Schemas } from '~/api/client'
import { refresh, useGet } from '~/api/query'
import { useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import * as format from '~/i18n/format'
import { countdown, namesOf, standing } from '~/policy/confirm'
import { keyOf, parts, policyPath, type PolicyAnswer, type Version } from '~/policy/model'
import { Coverage, Grid, MayWrite, mayWrite, serverNow, TargetText, Until, WordBadge } from '~/policy/parts'
import { answers } from '~/policy/sentence'
import { words as pw } from '~/policy/words'
import { sayReason } from '~/said'
import { Button, Card, Facts } from '~/ui/basic'
import { ReasonDialog } from '~/ui/dialog'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { Ago } from '~/ui/time'
import { toast } from '~/ui/toast'
import { PullDialog } from '~/views/switches/dialog'
import { Effect } from '~/views/switches/effect'
import { ExtendDialog } from '~/views/switches/extend'
import { asked } from '~/views/switches/pull'
import { words as w } from '~/views/switches/words'
import '~/views/switches/switches.css'

export default function Switches(_: ViewProps) {
  const address = useAddress()
  const list = useGet('/api/v1/switches', undefined, { every: 10_000 })
  const pull = asked(address.get, address.all)
  const close = () => address.set({ pull: undefined, app: undefined, command: undefined, at: undefined, from: undefined }, { replace: true })
  const write = mayWrite()
  return (
    <Page
      title={w('title')}
      lead={w('lead')}
      actions={
        write && (
          <Button kind="primary" onClick={() => address.set({ pull: 'new' })}>
            {w('pull')}
          </Button>
        )
      }
    >
      {!write && <MayWrite>{null}</MayWrite>}
      <Loaded
        query={list}
        isEmpty={(l) => (l.items ?? []).length === 0}
        empty={
          <Card>
            <Empty title={w('none')} icon="ok">
              {w('noneHint')}
            </Empty>
          </Card>
        }
      >
        {(l) => (
          <div class="stack">
            {[...(l.items ?? [])].sort(urgent).map((s) => (
              <Pulled key={keyOf(s.policy)} item={s} />
            ))}
          </div>
        )}
      </Loaded>
      <Released />
      {pull && write && <PullDialog initial={pull} onClose={close} />}
    </Page>
  )
}

/** Those that not all confirmed come first, then those that end first. */
function urgent(a: PolicyAnswer, b: PolicyAnswer): number {
  const trouble = (p: PolicyAnswer) => (p.confirmation && p.confirmation.confirmed < p.confirmation.live ? 0 : 1)
  const end = (p: PolicyAnswer) => (p.policy.expires ? Date.parse(p.policy.expires) : Infinity)
  return trouble(a) - trouble(b) || (end(a) === end(b) ? b.version - a.version : end(a) - end(b))
}

function Pulled({ item }: { item: PolicyAnswer }) {
  const [doing, setDoing] = useState<'release' | 'extend'>()
  const { policy: p, confirmation: c } = item
  const key = keyOf(p)
  const end = countdown(p.expires, serverNow())
  const said = c ? standing(c) : undefined
  const nameOf = namesOf(c?.instances ?? [])
  return (
    <section class="card switch" aria-label={key}>
      <header>
        <h2>
          <TargetText target={p.target} />
        </h2>
        <Coverage of={c} />
        <div class="row tight push">
          <Link class="btn" href={policyPath(key)}>
            {w('document')}
          </Link>
          {mayWrite(p.namespace) && (
            <>
              <Button onClick={() => setDoing('extend')}>{w('extend')}</Button>
              <Button kind="danger" onClick={() => setDoing('release')}>
                {w('release')}
              </Button>
            </>
          )}
        </div>
      </header>
      <div class="body switch-body">
        <Facts
          items={[
            [w('why'), item.reason],
            [w('pulledBy'), item.actor],
            [w('since'), <Ago at={item.created} />],
            [
              w('releases'),
              <>
                <Until expires={p.expires} />
                {end && !end.over && <span class="muted"> · {format.time(p.expires!)}</span>}
              </>,
            ],
            [w('answer'), p.fallback ? answers(p.fallback) : pw('answersOwn')],
            [w('effect'), <Effect target={p.target} confirmation={c} />],
          ]}
        />
        {c && said !== 'all' && <Grid of={c} limit={10} />}
        {c && said === 'all' && (
          <div class="stack tight">
            <h3>{w('instances')}</h3>
            <ul class="instances">
              {(c.instances ?? []).map((i) => (
                <li key={i.instance}>
                  <WordBadge state={i.state} /> {nameOf(i)} <span class="muted">{i.app}</span>
                </li>
              ))}
            </ul>
          </div>
        )}
      </div>
      {doing === 'release' && <ReleaseDialog item={item} onClose={() => setDoing(undefined)} />}
      {doing === 'extend' && <ExtendDialog item={item} onClose={() => setDoing(undefined)} />}
    </section>
  )
}

function ReleaseDialog({ item, onClose }: { item: PolicyAnswer; onClose: () => void }) {
  const key = keyOf(item.policy)
  return (
    <ReasonDialog
      title={w('releaseTitle', { name: key })}
      act={w('release')}
      danger
      onClose={onClose}
      run={async (reason) => {
        await answer(api.DELETE('/api/v1/switches/{namespace}/{name}', { params: { path: parts(key), query: { wait: '3s' }, header: because(reason) } }))
        toast(w('released', { name: key }))
        refresh('/api/v1/switches', '/api/v1/policies', '/api/v1/events')
      }}
    >
      <p>
        <TargetText target={item.policy.target} />
      </p>
      <p>{w('releaseWill', { n: item.confirmation?.live ?? 0 })}</p>
    </ReasonDialog>
  )
}

interface Ended {
  event: Schemas['GovernanceEvent']
  version: Version
}

/** What was released of late. Events name it; the version that ended it says whether it was a switch, and of what. */
function Released() {
  const events = useGet('/api/v1/events', { query: { kind: ['policy.deleted'], from: '-24h', limit: 20 } }, { every: 30_000 })
  const deleted = (events.data?.items ?? []).filter((e) => e.policy)
  const versions = useQueries({
    queries: deleted.map((e) => ({
      queryKey: ['released', e.policy, e.version],
      staleTime: Infinity, // a version never changes
      queryFn: async () => (await answer(api.GET('/api/v1/policies/{namespace}/{name}/versions', { params: { path: parts(e.policy!), query: { limit: 20 } } }))).items?.find((v) => v.version === e.version) ?? null,
    })),
  })
  const rows = deleted.flatMap((event, i): Ended[] => {
    const version = versions[i]?.data
    return version?.policy.kind === 'switch' ? [{ event, version }] : []
  })
  return (
    <Card title={w('recent')} flush>
      <Loaded query={events}>
        {() => (
          <Table<Ended>
            label={w('recent')}
            rows={rows}
            rowKey={(r) => String(r.event.id)}
            order="-at"
            limit={20}
            empty={<p class="body-note muted">{w('recentNone')}</p>}
            columns={[
              { key: 'what', label: w('switch'), cell: (r) => <TargetText target={r.version.policy.target} />, sort: (r) => keyOf(r.version.policy) },
              { key: 'at', label: w('at'), cell: (r) => <Ago at={r.event.time} />, sort: (r) => r.event.time },
              { key: 'by', label: w('releasedBy'), cell: (r) => (r.event.actor === 'weir' ? w('byItself') : r.event.actor), sort: (r) => r.event.actor },
              { key: 'why', label: w('why'), cell: (r) => sayReason(r.event.reason ?? ''), class: 'name' },
              { key: 'doc', label: <span class="sr">{pw('acts')}</span>, text: '', cell: (r) => <Link href={policyPath(keyOf(r.version.policy))}>{w('document')}</Link>, end: true },
            ]}
          />
        )}
      </Loaded>
    </Card>
  )
}
