// What people and deployments did, as marks on the time axis of a command.
import { appPath, link } from '~/app/address'
import type { Mark } from '~/charts/types'
import * as format from '~/i18n/format'
import type { LiveEvent } from '~/live/store'
import { say } from '~/said'
import { words as w } from './words'

/** shortCommand is a command as policies name it: without the packages before its interface. */
export function shortCommand(s: string): string {
  const method = s.lastIndexOf('.')
  if (method <= 0 || /[ /:]/.test(s)) return s
  return s.slice(s.lastIndexOf('.', method - 1) + 1)
}

/** concerns reports whether an event of a policy is about a command: of all commands, or of this one. */
export function concerns(e: LiveEvent, command: string): boolean {
  return !e.command || shortCommand(e.command) === shortCommand(command)
}

/** isSwitch reports whether a policy is one that is pulled: those known as such, and those that bear the name that switches are given. */
export function isSwitch(policy: string, known: ReadonlySet<string>): boolean {
  return known.has(policy) || policy.endsWith('.switch')
}

export function policyPath(policy: string, version?: number): string {
  return link(`/policies/${policy.split('/').map(encodeURIComponent).join('/')}`, { version })
}

/** A policy or switch that ends by itself: there is no event of that. */
export interface Ending {
  policy: string
  version: number
  expires: string
}

export interface MarksOf {
  events: readonly LiveEvent[]
  command: string
  switches: ReadonlySet<string>
  endings?: readonly Ending[]
  /** Seconds within which instances that come and go are one mark. */
  bundle: number
}

/** marksOf makes marks of events: one for each deed of a policy, and one for many instances that came or went together. */
export function marksOf({ events, command, switches, endings = [], bundle }: MarksOf): Mark[] {
  const out: Mark[] = []
  const seen = new Set<number>()
  const moves: LiveEvent[] = []
  for (const e of events) {
    if (seen.has(e.id)) continue
    seen.add(e.id)
    if (e.kind === 'instance.joined' || e.kind === 'instance.left') moves.push(e)
    else if (e.policy && concerns(e, command)) {
      const mark = policyMark(e, e.policy, isSwitch(e.policy, switches))
      if (mark) out.push(mark)
    }
  }
  for (const e of endings) out.push(ended(e.policy, e.version, Date.parse(e.expires) / 1000, isSwitch(e.policy, switches)))
  out.push(...bundled(moves, bundle))
  return out.sort((a, b) => a.time - b.time)
}

function ended(policy: string, version: number | undefined, time: number, switched: boolean): Mark {
  return { time, kind: switched ? 'release' : 'policy', label: w('markExpired', { policy }), to: policyPath(policy, version) }
}

function policyMark(e: LiveEvent, policy: string, switched: boolean): Mark | undefined {
  const time = Date.parse(e.time) / 1000
  const params = { policy, version: String(e.version ?? ''), actor: e.actor ?? '', reason: e.kind === 'policy.refused' ? say(e.reason ?? '') : (e.reason ?? '') }
  const to = policyPath(policy, e.version)
  switch (e.kind) {
    case 'policy.published':
      return { time, kind: switched ? 'switch' : 'policy', label: w('markPublished', params), to }
    case 'policy.deleted': {
      // What ended by itself is tidied up later, and says since when it had.
      const since = /^it expired at (\S+)$/.exec(e.reason ?? '')?.[1]
      if (since && !Number.isNaN(Date.parse(since))) return ended(policy, e.version, Date.parse(since) / 1000, switched)
      return { time, kind: switched ? 'release' : 'policy', label: w('markDeleted', params), to }
    }
    case 'policy.confirmed':
      return { time, kind: 'event', label: w('markConfirmed', params), to }
    case 'policy.refused':
      return { time, kind: 'event', label: w('markRefused', params), to }
    default:
      return undefined
  }
}

/** bundled makes one mark of instances that came or went within some seconds of each other. */
export function bundled(moves: readonly LiveEvent[], within: number): Mark[] {
  const out: Mark[] = []
  let group: LiveEvent[] = []
  const flush = () => {
    const [first] = group
    if (!first) return
    const joined = group.filter((e) => e.kind === 'instance.joined')
    const left = group.length - joined.length
    const name = (group.length === 1 && (first.reason || first.instance)) || ''
    const label = name !== '' ? w(joined.length === 1 ? 'markJoinedOne' : 'markLeftOne', { name }) : joined.length === 0 ? w('markLeft', { n: left }) : left === 0 ? w('markJoined', { n: joined.length }) : w('markMoved', { n: joined.length, left })
    out.push({ time: Date.parse(first.time) / 1000, kind: 'deploy', label, to: first.app && appPath(first.app, { tab: 'instances', instance: group.length === 1 ? first.instance : undefined }) })
    group = []
  }
  for (const e of [...moves].sort((a, b) => Date.parse(a.time) - Date.parse(b.time))) {
    const last = group.at(-1)
    if (last && Date.parse(e.time) - Date.parse(last.time) > within * 1000) flush()
    group.push(e)
  }
  flush()
  return out
}

/** momentOf is the address of the traces around a moment. */
export function momentOf(app: string, command: string, time: number, step: number, more: { minMs?: number; error?: boolean; peer?: string } = {}): string {
  const reach = Math.max(15, step)
  return link('/traces', {
    app, command, peer: more.peer, from: Math.floor((time - reach) * 1000), to: Math.ceil((time + step + reach) * 1000),
    minDuration: more.minMs !== undefined && more.minMs > 0 ? duration(more.minMs) : undefined,
    error: more.error,
  })
}

/** duration writes milliseconds as the search for traces reads them, rounded down so that the call meant is found. */
function duration(ms: number): string {
  return ms >= 10 ? format.toGoDuration(Math.floor(ms)) : `${Math.floor(ms * 1000)}us`
}
