// A switch that is about to be pulled: what the address asks for, and the request.
import type { Schemas } from '~/api/client'
import * as format from '~/i18n/format'
import { fallbackOf, noFallback, type FallbackForm, type Trouble } from '~/policy/form'
import type { Policy, Target } from '~/policy/model'

/** For how long, as choices. */
export const presets = ['5m', '15m', '30m', '1h', '4h', 'never', 'own'] as const
export type Preset = (typeof presets)[number]

export interface PullForm {
  app: string
  command: string
  at: 'provider' | 'caller'
  from: string[]
  fallback: FallbackForm
  preset: Preset
  /** A duration of one's own. */
  own: string
  name: string
}

/** asked reads what an address wants pulled; undefined where it wants nothing. */
export function asked(get: (name: string) => string | undefined, all: (name: string) => string[]): PullForm | undefined {
  const pull = get('pull')
  const app = get('app')
  if (pull === undefined && app === undefined) return undefined
  const form: PullForm = { app: app ?? '', command: get('command') ?? '', at: get('at') === 'caller' ? 'caller' : 'provider', from: all('from'), fallback: noFallback, preset: '30m', own: '', name: '' }
  const m = /^([^/]+\/[^/]+)(?:\/(.+))?$/.exec(pull ?? '') // a command may hold slashes
  if (m) {
    form.app = m[1]!
    form.command = m[2] ?? form.command
  }
  if (form.at === 'provider') form.from = []
  return form
}

/** targetOf is the target of a form. */
export function targetOf(f: PullForm): Target {
  return {
    app: f.app.trim(),
    ...(f.command.trim() === '' ? {} : { command: f.command.trim() }),
    ...(f.at === 'caller' ? { at: 'caller', ...(f.from.length > 0 ? { from: f.from } : {}) } : {}),
  }
}

/** lasts is for how many ms it is pulled; undefined for ever, NaN for what is no duration. */
export function lasts(f: Pick<PullForm, 'preset' | 'own'>): number | undefined {
  if (f.preset === 'never') return undefined
  const v = format.goDuration(f.preset === 'own' ? f.own.trim() : f.preset)
  return v > 0 ? v : NaN
}

export interface Prepared {
  /** The request. */
  body: Schemas['GovernanceApiPull']
  /** The document that it makes, for the dry run. Its end is left out: it moves with the clock. */
  doc: Policy
  trouble: Record<string, Trouble>
}

export function prepare(f: PullForm): Prepared {
  const trouble: Record<string, Trouble> = {}
  const fallback = fallbackOf(f.fallback, 'fallback', trouble)
  const target = targetOf(f)
  const ms = lasts(f)
  if (Number.isNaN(ms)) trouble.for = 'duration'
  const name = f.name.trim() === '' ? {} : { name: f.name.trim() }
  const answer = fallback?.cached ? { cached: fallback.cached, ...fallback.else } : (fallback ?? {})
  return {
    body: { target, ...name, ...answer, ...(ms === undefined || Number.isNaN(ms) ? {} : { for: format.toGoDuration(ms) }) },
    doc: { kind: 'switch', ...name, target, breaker: { mode: 'forcedOpen' }, ...(fallback ? { fallback } : {}) },
    trouble,
  }
}

/** extended is the document of a switch with another end, counted from now. */
export function extended(p: Policy, ms: number | undefined, now: number): Policy {
  const { expires: _, ...rest } = p
  return ms === undefined ? rest : { ...rest, expires: new Date(Math.round(now + ms)).toISOString() }
}
