// What switches and policies show alike: the target, the time that is left, and
// who has confirmed.
import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { appPath } from '~/app/address'
import { clock } from '~/app/clock'
import { useGet } from '~/api/query'
import { can, me } from '~/app/session'
import * as format from '~/i18n/format'
import { skew } from '~/live/store'
import { Said } from '~/said'
import { Badge, Notice, type Tone } from '~/ui/basic'
import type { IconName } from '~/ui/icons'
import { Table, type Column } from '~/ui/table'
import { Loading } from '~/ui/state'
import { Ago } from '~/ui/time'
import { arranged, countdown, namesOf, pollEvery, settled, standing, took, type Standing } from '~/policy/confirm'
import { parts, type Confirmation, type InstanceStatus, type Target } from '~/policy/model'
import { where } from '~/policy/sentence'
import { words as w } from '~/policy/words'
import '~/policy/policy.css'

/** serverNow is the server's time in ms: expiry is by its clock. */
export function serverNow(): number {
  return clock.value + skew.value
}

/** What a policy is about: the command, the application, and where it is enforced. */
export function TargetText({ target: t }: { target: Target }) {
  return (
    <span class="target">
      <Link href={appPath(t.app, t.command ? { command: t.command } : {})} class="target-command">
        {t.command ? <code>{t.command}</code> : w('allCommands')}
      </Link>
      <span class="muted">
        <Link href={appPath(t.app)}>{t.app}</Link> · {where(t)}
      </span>
    </span>
  )
}

/** Until counts down to the end of a policy. */
export function Until({ expires }: { expires: string | undefined }) {
  const c = countdown(expires, serverNow())
  if (!c) return <span class="muted">{w('never')}</span>
  if (c.over) return <Badge tone="idle">{w('over')}</Badge>
  return (
    <time class={`num nowrap ${c.soon ? 'warn-text' : ''}`} dateTime={expires} title={format.fullTime(expires!)}>
      {w('left', { time: format.span(c.left) })}
    </time>
  )
}

const look: Record<Standing, { tone: Tone; icon?: IconName }> = {
  nobody: { tone: 'idle' },
  refused: { tone: 'bad' },
  waiting: { tone: 'warn', icon: 'clock' },
  all: { tone: 'ok' },
}

/** Coverage says how many have confirmed. */
export function Coverage({ of: c }: { of: Confirmation | undefined }) {
  if (!c) return <span class="muted">–</span>
  const s = standing(c)
  return (
    <Badge tone={look[s].tone} icon={look[s].icon}>
      {s === 'nobody' ? w('nobody') : w(s === 'refused' ? 'coverRefused' : 'cover', { confirmed: c.confirmed, live: c.live, refused: c.refused })}
    </Badge>
  )
}

const stateLook = { confirmed: { tone: 'ok' }, pending: { tone: 'warn', icon: 'clock' }, refused: { tone: 'bad' } } as const

export function WordBadge({ state }: { state: InstanceStatus['state'] }) {
  const l = stateLook[state]
  return (
    <Badge tone={l.tone} icon={'icon' in l ? l.icon : undefined}>
      {w(state)}
    </Badge>
  )
}

function columns(nameOf: (i: InstanceStatus) => string): Column<InstanceStatus>[] {
  return [
    { key: 'instance', label: w('instance'), cell: (i) => <Link href={appPath(i.app, { tab: 'instances', instance: i.instance })}>{nameOf(i)}</Link>, sort: nameOf, class: 'name' },
    { key: 'app', label: w('app'), cell: (i) => i.app, sort: (i) => i.app, class: 'name' },
    { key: 'state', label: w('state'), cell: (i) => <WordBadge state={i.state} />, sort: (i) => i.state },
    {
      key: 'set', label: w('set'), end: true,
      // A set that was published since, and says the same to this instance, does not leave it behind.
      cell: (i) => (i.state === 'confirmed' || i.applied === i.wanted ? i.applied : w('setBehind', { applied: i.applied, wanted: i.wanted })),
    },
    { key: 'since', label: w('since'), cell: (i) => <Ago at={i.at} />, sort: (i) => i.at, end: true },
    { key: 'reason', label: w('reason'), cell: (i) => (i.reason ? <span class="bad-text"><Said text={i.reason} /></span> : <span class="muted">–</span>), class: 'name' },
  ]
}

/** Grid shows the word of each instance that has to enforce a policy, who stands in the way first. */
export function Grid({ of: c, gone, limit }: { of: Confirmation; gone?: boolean; limit?: number }) {
  const last = took(c)
  const s = standing(c)
  return (
    <div class="stack tight">
      {c.live > 0 && (
        <div class="cover" role="img" aria-label={w('cover', { confirmed: c.confirmed, live: c.live })}>
          {c.confirmed > 0 && <span class="cover-ok" style={{ flexGrow: c.confirmed }} />}
          {c.refused > 0 && <span class="cover-bad" style={{ flexGrow: c.refused }} />}
          {c.pending > 0 && <span class="cover-rest" style={{ flexGrow: c.pending }} />}
        </div>
      )}
      {s === 'nobody' && <p>{w('nobodyLong')}</p>}
      {c.refused > 0 && <p class="bad-text">{w('refusals', { n: c.refused })}</p>}
      {c.pending > 0 && <p>{w('stillWaiting', { n: c.pending })}</p>}
      {s === 'all' && last !== undefined && <p class="muted">{w('tookAll', { time: format.ms(last) })}</p>}
      {c.live > 0 && <Table label={gone ? w('gridGone') : w('grid')} columns={columns(namesOf(c.instances ?? []))} rows={arranged(c.instances ?? [])} rowKey={(i) => `${i.app} ${i.instance}`} param="who" limit={limit ?? 50} />}
    </div>
  )
}

/** useConfirmation follows how far the newest version of a policy is, often while words come in. */
export function useConfirmation(key: string, since: number) {
  const [every, setEvery] = useState<number | false>(300)
  const query = useGet('/api/v1/policies/{namespace}/{name}/status', { path: parts(key) }, { every, keep: false })
  const next = pollEvery(query.data, since, serverNow())
  useEffect(() => setEvery(next), [next])
  return query
}

/** Arriving shows confirmations as they come in. */
export function Arriving({ policy, since, gone }: { policy: string; since: number; gone?: boolean }) {
  const { data } = useConfirmation(policy, since)
  if (!data) return <Loading lines={2} />
  return (
    <div class="stack tight" role="status" aria-busy={!settled(data)}>
      <div>
        <Coverage of={data} />
      </div>
      <Grid of={data} gone={gone} />
    </div>
  )
}

/** MayWrite shows what writes, to those who may; others read why it is not there. */
export function MayWrite({ namespace, children }: { namespace?: string; children: ComponentChildren }) {
  if (mayWrite(namespace)) return <>{children}</>
  return <Notice>{w('cannotWrite', { where: namespace ? w('cannotWhere', { namespace }) : '' })}</Notice>
}

/** mayWrite reports whether the one logged in may write policies there; anywhere, where no namespace is named yet. */
export function mayWrite(namespace?: string): boolean {
  return namespace === undefined ? me.value?.role === 'operator' || me.value?.role === 'admin' : can('operator', namespace)
}
