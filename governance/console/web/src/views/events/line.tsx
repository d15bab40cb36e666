// One line of the list: equal events of one moment, in words.
import type { ComponentChildren } from 'preact'
import { memo } from 'preact/compat'
import { Link } from 'wouter-preact'
import { appPath, around, link, useOpened } from '~/app/address'
import type { LiveEvent } from '~/live/store'
import { Said, sayReason } from '~/said'
import { Badge, Button, type Tone } from '~/ui/basic'
import { StateBadge, stateWord } from '~/ui/circuit'
import type { IconName } from '~/ui/icons'
import { Time } from '~/ui/time'
import { chartOf, counted, instancesOf, isKind, moved, policyOf, type Group, type Kind } from './model'
import { words as w } from './words'

const look: Record<Kind, { tone: Tone; icon: IconName }> = {
  transition: { tone: 'info', icon: 'bolt' },
  'policy.published': { tone: 'info', icon: 'policies' },
  'policy.deleted': { tone: 'warn', icon: 'policies' },
  'policy.confirmed': { tone: 'ok', icon: 'ok' },
  'policy.refused': { tone: 'bad', icon: 'bad' },
  'instance.joined': { tone: 'idle', icon: 'plus' },
  'instance.left': { tone: 'idle', icon: 'close' },
  'instance.drifted': { tone: 'warn', icon: 'warn' },
}

/** kindWord is what a kind of event is called; one that is not known goes by its own name. */
export function kindWord(kind: string): string {
  return isKind(kind) ? w(`kind.${kind}`) : kind
}

/** sentence says what happened, of all events of a group: n of them, in so many instances. */
export function sentence(e: LiveEvent, n: number, instances = n): string {
  const version = e.version ?? 0
  switch (e.kind) {
    case 'transition': {
      const m = moved(e)
      if (!m) return w('kind.transition')
      const states = { from: stateWord(m.from), to: stateWord(m.to) }
      if (n === 1) return w('moved', states)
      // A circuit that is tried every few seconds moves to and fro in one instance.
      if (instances === 1) return w('movedTimes', { ...states, n })
      return instances === n ? w('movedMany', { ...states, n }) : w('movedTimesMany', { ...states, n, instances })
    }
    case 'policy.published':
      return w('published', { version: String(version) })
    case 'policy.deleted':
      return w('deleted', { version: String(version) })
    case 'policy.confirmed':
      return w('confirmed', { version: String(version) })
    case 'policy.refused':
      return n > 1 ? w('refusedMany', { n, version: String(version) }) : w('refusedOne', { version: String(version) })
    case 'instance.joined':
      return n > 1 ? w('joinedMany', { n }) : w('joinedOne')
    case 'instance.left':
      return n > 1 ? w('leftMany', { n }) : w('leftOne')
    case 'instance.drifted':
      return instances > 1 ? w('driftedMany', { n: instances }) : w('driftedOne')
    default:
      return e.kind
  }
}

function Mark({ e }: { e: LiveEvent }) {
  if (e.transition) return <StateBadge state={e.transition.to} />
  const l = isKind(e.kind) ? look[e.kind] : { tone: 'idle' as const, icon: 'dot' as const }
  return (
    <Badge tone={l.tone} icon={l.icon}>
      {kindWord(e.kind)}
    </Badge>
  )
}

/** named reports whether the reason of an event is its instance's name. */
function named(e: LiveEvent): boolean {
  return e.kind === 'instance.joined' || e.kind === 'instance.left'
}

/** instanceName is what people call an instance: its pod, which comes as the reason of its coming and going. */
function instanceName(e: LiveEvent): string {
  return (named(e) && e.reason) || e.instance || ''
}

function Instance({ e }: { e: LiveEvent }) {
  if (!e.instance || !e.app) return null
  return (
    <Link href={appPath(e.app, { tab: 'instances', instance: e.instance })} class="mono">
      {instanceName(e)}
    </Link>
  )
}

/** Why is what is known of the cause: the server's own words, and what was counted. */
function Why({ e }: { e: LiveEvent }) {
  const t = e.transition
  const counts = counted(e)
  const parts: ComponentChildren[] = []
  if (t?.cause) parts.push(<Said text={t.cause} />)
  else if (e.reason && !named(e)) parts.push(<span>{e.kind === 'policy.refused' || e.kind === 'instance.drifted' ? <Said text={e.reason} /> : sayReason(e.reason)}</span>)
  if (e.actor) parts.push(<span>{w('by', { actor: e.actor })}</span>)
  if (counts.length > 0) {
    parts.push(
      <span class="num">
        {w('counted')}: {counts.map(([name, n]) => (name in names ? w(names[name as keyof typeof names], { n }) : '')).join(', ')}
      </span>,
    )
  }
  if (parts.length === 0) return null
  return (
    <p class="why">
      {parts.map((p, i) => (
        <span key={i}>{p}</span>
      ))}
    </p>
  )
}
const names = {
  failure: 'n.failure', timeout: 'n.timeout', slow: 'n.slow', rejected: 'n.rejected', shortCircuited: 'n.shortCircuited',
  switched: 'n.switched', canceled: 'n.canceled', ignored: 'n.ignored', success: 'n.success',
} as const

export const Line = memo(function Line({ group }: { group: Group }) {
  const [open, turn] = useOpened('open', String(group.key))
  const e = group.newest
  const n = group.events.length
  const chart = chartOf(e)
  const policy = policyOf(e)
  return (
    <li class="event">
      <Time at={e.time} />
      <span class="mark">
        <Mark e={e} />
      </span>
      <div class="what">
        <p>
          {e.app && (
            <Link href={appPath(e.app)} class="strong">
              {e.app}
            </Link>
          )}
          {e.command && e.app && (
            <Link href={appPath(e.app, { command: e.command, at: e.transition?.at, peer: e.transition?.peer })} class="mono">
              {e.command}
            </Link>
          )}
          {e.transition?.at === 'caller' && e.transition.peer && <span class="muted">{w('caller', { peer: e.transition.peer })}</span>}
          {policy && (
            <Link href={policy} class="mono">
              {e.policy}
            </Link>
          )}
          <span class="strong">{sentence(e, n, instancesOf(group.events))}</span>
          {n === 1 ? (
            <Instance e={e} />
          ) : (
            <Button small kind="plain" icon={open ? 'up' : 'down'} aria-expanded={open} onClick={turn}>
              {w('each')}
            </Button>
          )}
        </p>
        <Why e={e} />
        {open && (
          <ul class="each">
            {group.events.map((x) => (
              <li key={x.id}>
                <Time at={x.time} /> <Instance e={x} />
                {x.transition?.cause && <span class="muted"><Said text={x.transition.cause} /></span>}
              </li>
            ))}
          </ul>
        )}
      </div>
      <span class="ways">
        {chart && <Link href={chart}>{w('chart')}</Link>}
        {e.transition && e.app && <Link href={link('/traces', { app: e.app, command: e.command, peer: e.transition.peer, ...around(e.time, 5) })}>{w('traces')}</Link>}
      </span>
    </li>
  )
})
