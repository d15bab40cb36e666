// The versions of a route: who wrote each and why, what differs, and the way back.
import { useState } from 'preact/hooks'
import { useAddress } from '~/app/address'
import * as format from '~/i18n/format'
import { Badge, Button } from '~/ui/basic'
import { ReasonDialog } from '~/ui/dialog'
import { Diff } from '~/ui/diff'
import { ErrorBox, Loading } from '~/ui/state'
import { Table } from '~/ui/table'
import { Time } from '~/ui/time'
import { useYaml } from '~/views/routes/draft'
import { t as e } from '~/views/routes/editwords'
import { t } from '~/views/routes/onewords'
import { pair } from '~/views/routes/pair'
import { Plan } from '~/views/routes/plan'
import { useRollbackPlan } from '~/views/routes/data'
import type { Version } from '~/views/routes/route'
import { rollbackRoute, unknownOf, type Result } from '~/views/routes/write'
import { textOf } from '~/views/routes/yaml'

export function History({ name, versions, may, onWritten }: { name: string; versions: Version[]; may: boolean; onWritten: (r: Result) => void }) {
  const address = useAddress()
  const [back, setBack] = useState<Version>()
  const newest = versions[0]
  const [from, to] = pair(versions, address.get('a'), address.get('b'))
  const radio = (param: 'a' | 'b', v: Version, chosen: Version | undefined) => (
    <input type="radio" name={param} aria-label={`${t(param === 'a' ? 'from' : 'to')}: ${v.revision}`} checked={chosen?.revision === v.revision} onChange={() => address.set({ [param]: v.revision }, { replace: true })} />
  )
  return (
    <>
      <Table
        label={t('tabHistory')}
        rows={versions}
        rowKey={(v) => String(v.revision)}
        limit={50}
        columns={[
          { key: 'revision', label: t('revision'), cell: (v) => <span class="row tight"><span class="num">{v.revision}</span>{v === newest && !v.deleted && <Badge tone="ok">{t('current')}</Badge>}{v.deleted && <Badge tone="bad">{t('deleted')}</Badge>}</span> },
          { key: 'when', label: t('when'), cell: (v) => <Time at={v.created} /> },
          { key: 'who', label: t('who'), cell: (v) => v.actor },
          { key: 'why', label: t('why'), class: 'name', cell: (v) => v.reason },
          { key: 'a', label: t('from'), cell: (v) => radio('a', v, from) },
          { key: 'b', label: t('to'), cell: (v) => radio('b', v, to) },
          ...(may
            ? [
                {
                  key: 'back',
                  label: '',
                  end: true,
                  cell: (v: Version) =>
                    v !== newest && !v.deleted && !v.unreadable ? (
                      <Button small icon="undo" onClick={() => setBack(v)}>
                        {t(newest?.deleted ? 'bringBack' : 'rollback')}
                      </Button>
                    ) : null,
                },
              ]
            : []),
        ]}
      />
      <div class="rt-pad stack tight">
        {from && to ? (
          <>
            <h3>{t('compare', { from: String(from.revision), to: String(to.revision) })}</h3>
            <Between from={from} to={to} />
          </>
        ) : (
          <p class="muted">{t('compareHint')}</p>
        )}
      </div>
      {back && newest && <RollbackDialog name={name} newest={newest} back={back} onClose={() => setBack(undefined)} onWritten={onWritten} />}
    </>
  )
}

function Between({ from, to }: { from: Version; to: Version }) {
  const { yaml, error, retry } = useYaml()
  if (error) return <ErrorBox error={error} retry={retry} />
  if (!yaml) return <Loading lines={2} />
  const text = (v: Version) => (v.deleted ? '' : textOf(yaml, v.route).trimEnd())
  return <Diff before={text(from)} after={text(to)} />
}

function RollbackDialog({ name, newest, back, onClose, onWritten }: { name: string; newest: Version; back: Version; onClose: () => void; onWritten: (r: Result) => void }) {
  const expect = newest.deleted ? 0 : newest.revision
  const plan = useRollbackPlan(back, expect)
  const [allow, setAllow] = useState(false)
  const unknown = unknownOf(plan.data)
  const words = { route: name, revision: String(back.revision) }
  return (
    <ReasonDialog
      title={t(newest.deleted ? 'bringBackTitle' : 'rollbackTitle', words)}
      act={t(newest.deleted ? 'bringBack' : 'rollback')}
      onClose={onClose}
      run={async (reason) => onWritten(await rollbackRoute({ namespace: back.route.namespace, name: back.route.name }, back.revision, expect, reason, allow))}
    >
      <p>{t('rollbackText', { when: format.time(back.created), actor: back.actor, reason: back.reason })}</p>
      {plan.data ? <Plan result={plan.data} /> : plan.error ? <ErrorBox error={plan.error} /> : <p class="muted">{t('rehearsing')}</p>}
      {unknown.length > 0 && (
        <label class="check">
          <input type="checkbox" checked={allow} onChange={(ev) => setAllow(ev.currentTarget.checked)} />
          {e('allowUnknown')}
        </label>
      )}
    </ReasonDialog>
  )
}
