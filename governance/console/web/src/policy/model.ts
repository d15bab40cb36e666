// Policies as documents: what they are called, and how they read.
import type { Schemas } from '~/api/client'
import * as format from '~/i18n/format'

export type Policy = Schemas['GovernancePolicy']
export type Target = Schemas['GovernanceTarget']
export type Fallback = Schemas['GovernanceFallback']
export type Breaker = Schemas['GovernanceBreaker']
export type PolicyAnswer = Schemas['GovernanceApiPolicyAnswer']
export type Version = Schemas['GovernanceVersion']
export type Confirmation = Schemas['GovernanceApiConfirmation']
export type InstanceStatus = Schemas['GovernanceApiInstanceStatus']

/** keyOf is "namespace/name" of a policy that was stored. */
export function keyOf(p: Policy): string {
  return `${p.namespace ?? p.target.app.split('/')[0] ?? ''}/${p.name ?? ''}`
}

/** policyPath is where a policy is shown. */
export function policyPath(key: string): string {
  return `/policies/${key.split('/').map(encodeURIComponent).join('/')}`
}

/** parts are the two halves of "namespace/name". */
export function parts(key: string): { namespace: string; name: string } {
  const i = key.indexOf('/')
  return i < 0 ? { namespace: '', name: key } : { namespace: key.slice(0, i), name: key.slice(i + 1) }
}

/** shortCommand is what a Dubbo method is called as a command: its interface without the package. */
export function shortCommand(s: string): string {
  const method = s.lastIndexOf('.')
  if (method <= 0 || /[ /:]/.test(s)) return s
  const iface = s.lastIndexOf('.', method - 1)
  return s.slice(iface + 1)
}

/** duration writes a duration as short as it can be said: "5m" for "5m0s". */
export function duration(text: string): string {
  const v = format.goDuration(text)
  return Number.isNaN(v) ? text : format.toGoDuration(v)
}

const order: Record<string, string[]> = {
  '': ['kind', 'namespace', 'name', 'target', 'breaker', 'timeout', 'bulkhead', 'fallback', 'expires'],
  target: ['app', 'command', 'at', 'from'],
  breaker: ['mode', 'window', 'minCalls', 'errorPercent', 'slowCall', 'slowPercent', 'openFor', 'probes'],
  fallback: ['value', 'empty', 'error', 'cached', 'else'],
  else: ['value', 'empty', 'error', 'cached', 'else'],
}
const durations = new Set(['timeout', 'window', 'slowCall', 'openFor', 'maxAge'])

/**
 * tidy writes a document the way that people write one: fields in their order,
 * short durations, and nothing that goes without saying. Two that mean the same
 * read the same, so that a difference is one.
 */
export function tidy(p: Policy): Record<string, unknown> {
  const out = ordered(p as Record<string, unknown>, '')
  if (out.namespace !== undefined && out.namespace === p.target?.app?.split('/')[0]) delete out.namespace
  if (out.kind === 'policy') delete out.kind
  const target = out.target as Record<string, unknown> | undefined
  if (target?.at === 'provider') delete target.at
  return out
}

function ordered(of: Record<string, unknown>, field: string): Record<string, unknown> {
  const known = order[field] ?? []
  const keys = Object.keys(of).sort((a, b) => place(known, a) - place(known, b))
  const out: Record<string, unknown> = {}
  for (const key of keys) {
    const v = of[key]
    if (v === undefined || v === null && key !== 'value') continue
    if (durations.has(key) && typeof v === 'string') out[key] = duration(v)
    else if (key !== 'value' && typeof v === 'object' && !Array.isArray(v)) out[key] = ordered(v as Record<string, unknown>, key)
    else out[key] = v
  }
  return out
}

function place(known: string[], key: string): number {
  const i = known.indexOf(key)
  return i < 0 ? known.length : i
}

/** expired reports whether a policy is over, by a time in ms. */
export function expired(p: Policy, now: number): boolean {
  return p.expires !== undefined && Date.parse(p.expires) <= now
}
