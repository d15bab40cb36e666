// How parts of a trace are written and coloured.
import * as format from '~/i18n/format'
import type { Span, Trace } from './rows'
import { words as w } from './words'

/** took writes a duration from microseconds. */
export function took(micros: number): string {
  return micros === 0 ? '–' : format.ms(micros / 1000)
}

/** moment writes a time from the trace's beginning. */
export function moment(micros: number): string {
  return `${micros < 0 ? '−' : '+'}${format.ms(Math.abs(micros) / 1000)}`
}

/** share writes a part of a whole. */
export function share(part: number, whole: number): string {
  return format.percent(whole > 0 ? (part / whole) * 100 : 0)
}

const shades = 8

/** colorsOf gives each application a token; beyond eight they repeat, and names stand beside them anyway. */
export function colorsOf(services: Trace['services']): ReadonlyMap<string, string> {
  return new Map(services.map((s, i) => [s.name, `--c${(i % shades) + 1}`]))
}

export function serviceOf(name: string): string {
  return name === '' ? w('unnamed') : name
}

const refusals = { open: 'refusedOpen', switched: 'refusedSwitched', full: 'refusedFull' } as const
const fallbacks = { value: 'fallbackValue', empty: 'fallbackEmpty', cached: 'fallbackCached', error: 'fallbackError', route: 'fallbackRoute', code: 'fallbackCode' } as const

export function refusalWord(why: string): string {
  return Object.hasOwn(refusals, why) ? w(refusals[why as keyof typeof refusals]) : w('refusedOther', { why })
}

export function fallbackWord(what: string): string {
  return Object.hasOwn(fallbacks, what) ? w(fallbacks[what as keyof typeof fallbacks]) : w('fallbackOther', { what })
}

export function policyWord(s: Pick<Span, 'policy' | 'policyVersion'>): string {
  return s.policyVersion ? w('policyVersion', { name: s.policy ?? '', version: String(s.policyVersion) }) : w('policyOf', { name: s.policy ?? '' })
}
