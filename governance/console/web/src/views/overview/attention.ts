// What needs a person, in the page's words. The server says it in English as well,
// which stands in for kinds that this page does not know.
import * as format from '~/i18n/format'
import { say } from '~/said'
import { conditionWord } from '~/ui/conditionbadge'
import type { Tone } from '~/ui/basic'
import { words as w } from './words'

export interface Attention {
  kind: string
  severity: string
  params: Record<string, string>
  text: string
  link: string
  since?: string
}

const severities = ['critical', 'warning', 'info']
export const severityTone: Record<string, Tone> = { critical: 'bad', warning: 'warn', info: 'info' }

/** bySeverity puts the worst first, and keeps the server's order among equals. */
export function bySeverity(items: readonly Attention[]): Attention[] {
  const rank = (a: Attention) => {
    const i = severities.indexOf(a.severity)
    return i < 0 ? severities.length : i
  }
  return items.map((a, i) => ({ a, i })).sort((x, y) => rank(x.a) - rank(y.a) || x.i - y.i).map((x) => x.a)
}

/** severityWord is what a severity is called. */
export function severityWord(severity: string): string {
  const key = `severity.${severity}`
  return w.has(key) ? w(key) : severity
}

const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

/** sayAttention is the sentence of a kind, or the server's where there is none or its parameters are not there. */
export function sayAttention(a: Attention): string {
  const p = { ...a.params }
  for (const name of ['why', 'what', 'note']) if (p[name]) p[name] = say(p[name])
  for (const [name, v] of Object.entries(p)) if (instant.test(v)) p[name] = format.time(v)
  const key = sentenceOf(a)
  if (!key || !w.has(key)) return say(a.text)
  const said = w(key, p)
  return /\{\w+[|}]/.test(said) ? say(a.text) : said
}

// A kind has another sentence where it speaks of something more.
function sentenceOf({ kind, params: p }: Attention): string | undefined {
  switch (kind) {
    case 'circuit.open':
      return p.route ? 'a.circuit.open.route' : p.peer ? 'a.circuit.open.peer' : 'a.circuit.open'
    case 'circuit.forced': {
      const held = p.state === 'forcedClosed' ? 'closed' : 'open'
      return p.route ? `a.circuit.held.${held}.route` : p.peer ? `a.circuit.held.${held}.peer` : `a.circuit.held.${held}`
    }
    case 'instance.refusing':
      return p.policy ? 'a.instance.refusing' : 'a.instance.refusing.all'
    case 'system.queue':
      return p.percent ? 'a.system.queue' : 'a.system.queue.waiting'
    case 'system.partition':
      return p.rows ? 'a.system.partition.rows' : 'a.system.partition'
    case 'system.registry':
      return p.why ? 'a.system.registry' : 'a.system.registry.stale'
  }
  return `a.${kind}`
}

/** sayChange is what was done to an object, or the server's own words. */
export function sayChange(c: { kind: string; text: string }): string | undefined {
  const key = `c.${c.kind}`
  return w.has(key) ? w(key) : undefined
}

/** sayNumber of a tile, for those who do not see it. */
export function sayTile(app: string, condition: Parameters<typeof conditionWord>[0], figures: { rate: number; errorPercent: number; p99Ms?: number }): string {
  return w('tile', { app, state: conditionWord(condition), rate: format.rate(figures.rate), errors: format.percent(figures.errorPercent), p99: format.ms(figures.p99Ms) })
}
