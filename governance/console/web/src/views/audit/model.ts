// What an entry of the audit says: to what it was done, how it ended, and where
// the object can be looked at.
import { appPath, link } from '~/app/address'

/** How a write ended. */
export type Ending = 'done' | 'open' | 'failed' | 'denied' | 'other'

/** endingOf reads an outcome as the server writes it: nothing while the write runs, "ok", or what went wrong. */
export function endingOf(outcome: string): { ending: Ending; text?: string } {
  if (outcome === '') return { ending: 'open' }
  if (outcome === 'ok') return { ending: 'done' }
  for (const ending of ['failed', 'denied'] as const) {
    if (outcome.startsWith(`${ending}:`)) return { ending, text: outcome.slice(ending.length + 1).trim() }
  }
  return { ending: 'other', text: outcome }
}

/** An object of an entry. */
export interface Thing {
  /** It was only tried out. */
  rehearsed: boolean
  /** What it is called. */
  text: string
  /** Where it can be looked at. */
  to?: string
}

const rehearsal = 'dry run: '

/** thingOf reads an object such as "route shop/cart". */
export function thingOf(object: string, revision?: number): Thing {
  const rehearsed = object.startsWith(rehearsal)
  const text = rehearsed ? object.slice(rehearsal.length) : object
  return { rehearsed, text, to: placeOf(text, revision) }
}

const path = (key: string) => key.split('/').map(encodeURIComponent).join('/')

function placeOf(text: string, revision?: number): string | undefined {
  const m = /^(\w+) (\S+)$/.exec(text)
  const [kind, name] = [m?.[1], m?.[2] ?? '']
  const key = /^[^/]+\/[^/]+$/.test(name)
  switch (kind) {
    case 'route':
      return key ? `/routes/${path(name)}` : undefined
    case 'policy':
    case 'switch':
      return key ? link(`/policies/${path(name)}`, { version: kind === 'policy' && revision ? revision : undefined }) : undefined
    case 'account':
    case 'token':
      return '/people'
  }
  const pulled = /^switch of ([^/ ]+\/[^/ ]+)(?: (.+))?$/.exec(text)
  if (pulled) return appPath(pulled[1]!, { command: pulled[2] })
  return text.startsWith('routes ') ? '/routes' : undefined
}

/** whoOf splits a principal such as "user:admin". */
export function whoOf(principal: string): { kind: string; name: string } {
  const i = principal.indexOf(':')
  return i < 0 ? { kind: '', name: principal } : { kind: principal.slice(0, i), name: principal.slice(i + 1) }
}
