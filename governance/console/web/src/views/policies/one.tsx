import { useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { answer, api, because } from '~/api/client'
import { refresh, useGet } from '~/api/query'
import { appPath, useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { settled } from '~/policy/confirm'
import { expired, parts, policyPath, type Version } from '~/policy/model'
import { Coverage, Grid, MayWrite, mayWrite, serverNow, TargetText, Until, useConfirmation } from '~/policy/parts'
import { sentence } from '~/policy/sentence'
import { words as pw } from '~/policy/words'
import { sayReason } from '~/said'
import { Badge, Button, Card, Facts, Notice } from '~/ui/basic'
import { ReasonDialog } from '~/ui/dialog'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table } from '~/ui/table'
import { Ago } from '~/ui/time'
import { toast } from '~/ui/toast'
import { Changes, Document, Never } from '~/views/policies/doc'
import { Effect } from '~/views/policies/effect'
import { words as w } from '~/views/policies/words'
import '~/views/policies/policies.css'

export default function PolicyOf({ params }: ViewProps) {
  const path = { namespace: decodeURIComponent(params.ns ?? ''), name: decodeURIComponent(params.name ?? '') }
  const key = `${path.namespace}/${path.name}`
  const versions = useGet('/api/v1/policies/{namespace}/{name}/versions', { path, query: { limit: 200 } }, { keep: false, every: 30_000 })
  const newest = versions.data?.items?.[0]
  const write = mayWrite(path.namespace)
  const [doing, setDoing] = useState<'end'>()
  const target = newest?.policy.target
  return (
    <Page
      title={key}
      crumbs={[{ text: w('title'), to: '/policies' }]}
      actions={
        newest &&
        target && (
          <>
            <Link class="btn" title={w('explainHint')} href={appPath(target.app, { tab: 'explain', command: target.command, at: target.at === 'caller' ? 'caller' : undefined })}>
              {shared('explain')}
            </Link>
            {write && !newest.deleted && (
              <>
                <Link class="btn" href={`${policyPath(key)}/edit`}>
                  {w('edit')}
                </Link>
                <Button kind="danger" onClick={() => setDoing('end')}>
                  {newest.policy.kind === 'switch' ? w('release') : w('delete')}
                </Button>
              </>
            )}
          </>
        )
      }
    >
      {!write && newest && <MayWrite namespace={path.namespace}>{null}</MayWrite>}
      {versions.error?.status === 404 ? (
        <Never name={key} />
      ) : (
        <Loaded query={versions} isEmpty={(v) => (v.items ?? []).length === 0} empty={<Never name={key} />}>
          {(v) => <Shown policy={key} versions={v.items ?? []} write={write} ending={doing === 'end'} stopEnding={() => setDoing(undefined)} />}
        </Loaded>
      )}
    </Page>
  )
}

function Shown({ policy: key, versions, write, ending, stopEnding }: { policy: string; versions: Version[]; write: boolean; ending: boolean; stopEnding: () => void }) {
  const address = useAddress()
  const [back, setBack] = useState<Version>()
  const newest = versions[0]!
  const said = address.get('version')
  const shown = said === undefined ? newest : versions.find((v) => String(v.version) === said)
  const other = versions.find((v) => String(v.version) === address.get('with'))
  const status = useConfirmation(key, Date.parse(newest.created))
  const p = newest.policy
  return (
    <>
      {newest.deleted && <Notice tone="warn">{w('isDeleted')}</Notice>}
      {!newest.deleted && expired(p, serverNow()) && <Notice tone="warn">{w('isExpired', { time: format.time(p.expires!) })}</Notice>}
      {shown === undefined && (
        <Card>
          <Empty title={w('noDocument', { version: said ?? '' })} action={<Button onClick={() => address.set({ version: undefined, with: undefined })}>{w('toNewest')}</Button>}>
            {w('noDocumentHint')}
          </Empty>
        </Card>
      )}
      {shown !== undefined && shown !== newest && (
        <Notice
          action={
            <div class="row tight">
              <Button small onClick={() => address.set({ version: undefined, with: undefined })}>
                {w('toNewest')}
              </Button>
              {write && !shown.deleted && (
                <Button small onClick={() => setBack(shown)}>
                  {w('rollback')}
                </Button>
              )}
            </div>
          }
        >
          {w('notNewest', { version: shown.version, newest: newest.version })}
        </Notice>
      )}
      {shown && (
        <div class="grid2">
          <Card title={w('does')}>
            <div class="stack">
              <TargetText target={shown.policy.target} />
              <p>
                {shown.policy.kind === 'switch' && (
                  <>
                    <Badge tone="forced">{pw('switch')}</Badge>{' '}
                  </>
                )}
                {sentence(shown.policy)}
              </p>
              <Facts
                items={[
                  [w('why'), sayReason(shown.reason)],
                  [w('by'), shown.actor],
                  [w('when'), <><Ago at={shown.created} /> <span class="muted">{format.time(shown.created)}</span></>],
                  [w('version'), <>{shown.version} {shown.deleted && <Badge>{w('deleted')}</Badge>}</>],
                  [w('expires'), <><Until expires={shown.policy.expires} /> {shown.policy.expires && <span class="muted">{format.time(shown.policy.expires)}</span>}</>],
                ]}
              />
            </div>
          </Card>
          <Card title={other ? w('compareTitle', { from: other.version, to: shown.version }) : w('document')} actions={<Compare versions={versions} shown={shown} other={other} />}>
            {other ? <Changes before={other.policy} after={shown.policy} /> : <Document policy={shown.policy} />}
          </Card>
        </div>
      )}
      <Card title={newest.deleted ? w('ackGone') : w('ack')} actions={<Coverage of={status.data} />}>
        <Loaded query={status}>{(c) => <div aria-busy={!settled(c)}><Grid of={c} gone={newest.deleted} /></div>}</Loaded>
      </Card>
      {shown && <Effect version={shown} versions={versions} confirmation={status.data} />}
      <Card title={w('history')} flush>
        <Table<Version>
          label={w('historyLabel')}
          rows={versions}
          rowKey={(v) => String(v.version)}
          selected={(v) => v === shown}
          limit={20}
          columns={[
            { key: 'version', label: w('version'), cell: (v) => <Link href={address.with({ version: v === newest ? undefined : v.version, with: undefined })}>{v.version}</Link>, sort: (v) => v.version },
            { key: 'when', label: w('when'), cell: (v) => <Ago at={v.created} />, sort: (v) => v.created },
            { key: 'by', label: w('by'), cell: (v) => v.actor, sort: (v) => v.actor },
            { key: 'why', label: w('why'), cell: (v) => sayReason(v.reason), class: 'name' },
            { key: 'does', label: w('does'), cell: (v) => (v.deleted ? <Badge>{w('deleted')}</Badge> : sentence(v.policy)), class: 'name' },
            {
              key: 'do',
              label: <span class="sr">{pw('acts')}</span>,
              text: '',
              cell: (v) => (
                <span class="row tight">
                  {v !== shown && shown && (
                    <Link class="btn small" href={v.version < shown.version ? address.with({ with: v.version }) : address.with({ version: v === newest ? undefined : v.version, with: shown.version })}>
                      {w('compare')} {shown.version}
                    </Link>
                  )}
                  {write && !v.deleted && (v !== newest || newest.deleted) && (
                    <Button small onClick={() => setBack(v)}>
                      {w('rollback')}
                    </Button>
                  )}
                </span>
              ),
              end: true,
            },
          ]}
        />
      </Card>
      {back && <Rollback policy={key} newest={newest} to={back} onClose={() => setBack(undefined)} />}
      {ending && <End policy={key} newest={newest} live={status.data?.live ?? 0} onClose={stopEnding} />}
    </>
  )
}

/** Compare chooses the version that the document is held against. */
function Compare({ versions, shown, other }: { versions: Version[]; shown: Version; other: Version | undefined }) {
  const address = useAddress()
  if (versions.length < 2) return null
  return (
    <label class="row tight">
      <span class="muted">{w('compare')}</span>
      <select class="select version" value={other ? String(other.version) : ''} onChange={(e) => address.set({ with: e.currentTarget.value })}>
        <option value="">{w('compareNone')}</option>
        {versions
          .filter((v) => v !== shown)
          .map((v) => (
            <option key={v.version} value={String(v.version)}>
              {w('versionOf', { version: String(v.version), time: format.time(v.created) })}
            </option>
          ))}
      </select>
    </label>
  )
}

function Rollback({ policy: key, newest, to, onClose }: { policy: string; newest: Version; to: Version; onClose: () => void }) {
  const address = useAddress()
  return (
    <ReasonDialog
      title={w('rollbackTitle', { version: to.version })}
      act={w('rollback')}
      onClose={onClose}
      run={async (reason) => {
        const got = await answer(
          api.POST('/api/v1/policies/{namespace}/{name}/rollback', {
            params: { path: parts(key), query: { to: to.version }, header: { ...because(reason), ...(newest.deleted ? { 'If-None-Match': '*' } : { 'If-Match': `"${newest.version}"` }) } },
          }),
        )
        toast(w('rolledBack', { to: to.version, version: got.version }))
        refresh('/api/v1/policies', '/api/v1/switches')
        address.set({ version: undefined, with: undefined })
      }}
    >
      <p>{w('rollbackHint')}</p>
      {newest.deleted ? <Document policy={to.policy} /> : <Changes before={newest.policy} after={to.policy} />}
    </ReasonDialog>
  )
}

function End({ policy: key, newest, live, onClose }: { policy: string; newest: Version; live: number; onClose: () => void }) {
  return (
    <ReasonDialog
      title={w('deleteTitle', { name: key })}
      act={newest.policy.kind === 'switch' ? w('release') : w('delete')}
      danger
      onClose={onClose}
      run={async (reason) => {
        await answer(api.DELETE('/api/v1/policies/{namespace}/{name}', { params: { path: parts(key), header: { ...because(reason), 'If-Match': `"${newest.version}"` } } }))
        toast(w('wasDeleted', { name: key }))
        refresh('/api/v1/policies', '/api/v1/switches')
      }}
    >
      <p>
        <TargetText target={newest.policy.target} />
      </p>
      <p>{live === 0 ? w('deleteNobody') : w('deleteHint', { n: live })}</p>
    </ReasonDialog>
  )
}
