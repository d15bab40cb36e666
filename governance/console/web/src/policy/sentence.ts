// Policies in words.
import { formatNumber, lang } from '~/i18n'
import * as format from '~/i18n/format'
import type { Fallback, Policy, Target } from '~/policy/model'
import { words as w } from '~/policy/words'

/** where says in which instances a target is enforced. */
export function where(t: Target): string {
  if (t.at !== 'caller') return w('atProvider')
  const from = t.from ?? []
  return from.length === 0 ? w('atCallers') : w('atCaller', { from: from.join(', '), n: from.length })
}

const time = (text: string | undefined) => {
  const v = format.goDuration(text)
  return Number.isNaN(v) ? (text ?? '') : format.ms(v)
}

/** answers says what callers get. */
export function answers(f: Fallback): string {
  if (f.cached) {
    const first = w('answersCached', { time: time(f.cached.maxAge) })
    return f.else ? w('answersElse', { first, rest: answers(f.else) }) : first
  }
  if (f.empty) return w('answersEmpty')
  if (f.error !== undefined && f.error !== '') return w('answersError', { text: f.error })
  return w('answersValue', { value: clip(JSON.stringify(f.value) ?? '') })
}

function clip(text: string): string {
  return text.length > 120 ? `${text.slice(0, 119)}…` : text
}

/** rules says what a policy does, in a few short parts. */
export function rules(p: Pick<Policy, 'breaker' | 'timeout' | 'bulkhead' | 'fallback'>): string[] {
  const out: string[] = []
  const b = p.breaker
  if (b?.mode === 'forcedOpen') out.push(w('refusesAll'))
  else if (b?.mode === 'forcedClosed') out.push(w('neverOpens'))
  else if (b?.mode === 'disabled') out.push(w('noBreaker'))
  if (b) {
    if (b.errorPercent) out.push(w('opensErrors', { percent: percent(b.errorPercent) }))
    if (b.slowPercent) out.push(w('opensSlow', { percent: percent(b.slowPercent), time: time(b.slowCall) }))
    if (b.window) out.push(w('window', { time: time(b.window) }))
    if (b.minCalls) out.push(w('minCalls', { n: b.minCalls }))
    if (b.openFor) out.push(w('openFor', { time: time(b.openFor) }))
    if (b.probes) out.push(w('probes', { n: b.probes }))
    if (b.mode === 'auto' && out.length === 0) out.push(w('auto'))
  }
  if (p.timeout) out.push(w('timeout', { time: time(p.timeout) }))
  if (p.bulkhead) out.push(w('bulkhead', { n: p.bulkhead.concurrent }))
  if (p.fallback) out.push(answers(p.fallback))
  return out
}

/** sentence is all that a policy does. */
export function sentence(p: Pick<Policy, 'breaker' | 'timeout' | 'bulkhead' | 'fallback'>): string {
  const all = rules(p)
  return all.length === 0 ? w('saysNothing') : all.join(lang.value === 'zh' ? '，' : ', ')
}

function percent(v: number): string {
  return `${formatNumber(v)} %`
}
