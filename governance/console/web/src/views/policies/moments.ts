// What to look at to see what a version did: the times before and after it, and
// the figures of both.
import type { Schemas } from '~/api/client'
import { formatNumber } from '~/i18n'
import { shortCommand, type Confirmation, type Policy, type Version } from '~/policy/model'
import { appsOf } from '~/policy/confirm'

type CommandTotal = Schemas['GovernanceApiCommandTotal']
type Point = Schemas['GovernancePoint']

/** How far is looked to both sides, in ms. */
export const around = 15 * 60_000

export interface Span {
  from: number
  to: number
}

export interface Moments {
  at: number
  before: Span
  after: Span
  /** All of it, for the charts. */
  whole: Span
}

// Versions that come closer together than this are one change: there is nothing to see in between.
const together = 10_000

/** moments are the times around a version; other versions of the policy end them. */
export function moments(version: Version, versions: readonly Version[], now: number): Moments {
  const at = Date.parse(version.created)
  const times = versions.filter((v) => v.version !== version.version).map((v) => Date.parse(v.created))
  const earlier = Math.max(at - around, ...times.filter((t) => t < at - together))
  const later = Math.min(at + around, now, ...times.filter((t) => t > at + together))
  return { at, before: { from: earlier, to: at }, after: { from: at, to: Math.max(at, later) }, whole: { from: at - around, to: Math.min(at + around, Math.max(now, at + 60_000)) } }
}

export interface Source {
  /** The application that counted. */
  app: string
  at: 'provider' | 'caller'
  /** At the caller: the application that serves. */
  peer?: string
}

/** sources are the applications whose counts tell of a target. */
export function sources(p: Policy, confirmation: Confirmation | undefined): Source[] {
  const t = p.target
  if (t.at !== 'caller') return [{ app: t.app, at: 'provider' }]
  const callers = (t.from ?? []).length > 0 ? t.from! : appsOf(confirmation)
  return callers.map((app) => ({ app, at: 'caller', peer: t.app }))
}

/** commandsOf are the commands that a source counted and the target is about. */
export function commandsOf(list: readonly Pick<CommandTotal, 'command' | 'at' | 'peer'>[], s: Source, command: string | undefined): string[] {
  return [...new Set(list.filter((c) => c.at === s.at && (s.at === 'provider' || c.peer === s.peer)).map((c) => c.command))].filter((c) => !command || c === command || c === shortCommand(command)).sort()
}

/** totalOf is what a source counted of a command. */
export function totalOf<T extends Pick<CommandTotal, 'command' | 'at' | 'peer'>>(list: readonly T[] | undefined, s: Source, command: string | undefined): T | undefined {
  return command === undefined ? undefined : list?.find((c) => c.command === command && c.at === s.at && (s.at === 'provider' || c.peer === s.peer))
}

export interface Lines {
  times: number[]
  ran: (number | null)[]
  failed: (number | null)[]
  refused: (number | null)[]
  p50: (number | null)[]
  p99: (number | null)[]
}

/** lines are the points of a series as a chart draws them, in calls a second and ms. */
export function lines(points: readonly Point[], step: number, ms: (duration: string | undefined) => number): Lines {
  const out: Lines = { times: [], ran: [], failed: [], refused: [], p50: [], p99: [] }
  const known = (v: number) => (Number.isNaN(v) ? null : v)
  for (const p of points) {
    const c = p.counts
    out.times.push(Date.parse(p.time) / 1000)
    out.ran.push(((c.success ?? 0) + (c.ignored ?? 0) + (c.canceled ?? 0)) / step)
    out.failed.push(((c.failure ?? 0) + (c.timeout ?? 0)) / step)
    out.refused.push(((c.rejected ?? 0) + (c.shortCircuited ?? 0) + (c.switched ?? 0)) / step)
    out.p50.push(known(ms(p.latency?.p50)))
    out.p99.push(known(ms(p.latency?.p99)))
  }
  return out
}

/** changeOf says how a figure changed, with its sign: in per cent of what it was, or by how many points. */
export function changeOf(before: number | undefined, after: number | undefined, points = false): string | undefined {
  if (before === undefined || after === undefined || (!points && before === 0)) return undefined
  const d = points ? after - before : (100 * (after - before)) / before
  const text = formatNumber(Math.abs(d), points ? 1 : 0)
  return `${text === '0' ? '±' : d > 0 ? '+' : '−'}${text}`
}
