// The one way to the APIs. Its types are those of the OpenAPI document, and what
// goes wrong comes back as a Problem with words for people.
import createClient from 'openapi-fetch'
import type { components, paths } from '#api'
import { words } from '~/app/words'
import { say } from '~/said'

export type Schemas = components['schemas']

/** Problem is why a request was not answered as wished. */
export class Problem extends Error {
  constructor(
    /** HTTP status; 0 when nothing answered. */
    readonly status: number,
    /** What the server, or the page, says about it; undefined where nothing was said. */
    readonly said?: string,
    /** Places in the request at which something is wrong. */
    readonly errors: { location?: string; message?: string }[] = [],
    /** The whole answer, for what it says beyond that. */
    readonly body?: unknown,
  ) {
    super(said)
    this.name = 'Problem'
  }

  /** Whether the answer took too long, rather than that who should give it is away. */
  get late(): boolean {
    return this.status === 504 || (this.status === 503 && /longer than|ended before/.test(this.said ?? ''))
  }

  /** Why, in the language of the page, with the kind of problem before it where sentences would not say it. */
  get detail(): string {
    if (this.said === undefined) return this.status === 0 ? words('unreachable') : words('answered', { status: this.status })
    const key = `status${this.status}`
    return words.has(key) ? words(key, { said: say(this.said) }) : say(this.said)
  }
}

/** unauthorized is called when an answer says that nobody is logged in. */
export const onUnauthorized: { call: () => void } = { call: () => {} }

export const api = createClient<paths>({
  baseUrl: location.origin,
  headers: { Accept: 'application/json' },
  // Asked at each call, so that tests can put another in its place.
  fetch: (request: Request) => globalThis.fetch(request),
})

type Result = { data?: unknown; error?: unknown; response: Response }

/** answer waits for a call of api and returns its document, or throws a Problem. */
export async function answer<R extends Result>(call: Promise<R>): Promise<NonNullable<R['data']>> {
  let r: R
  try {
    r = await call
  } catch (err) {
    if (err instanceof DOMException && err.name === 'AbortError') throw err
    throw new Problem(0)
  }
  if (r.response.ok) return r.data as NonNullable<R['data']>
  if (r.response.status === 401) onUnauthorized.call()
  throw problemOf(r.response.status, r.error)
}

/** problemOf makes a Problem of what a server answered, whatever that is. */
export function problemOf(status: number, body: unknown): Problem {
  if (body && typeof body === 'object') {
    const p = body as { detail?: unknown; title?: unknown; errors?: unknown }
    const detail = typeof p.detail === 'string' && p.detail !== '' ? p.detail : typeof p.title === 'string' ? p.title : undefined
    return new Problem(status, detail, Array.isArray(p.errors) ? p.errors : [], body)
  }
  // A proxy in between answers with a page of its own, which says nothing here.
  return new Problem(status)
}

/** because is the header that says why something is written. */
export function because(reason: string): { 'Weir-Reason': string } {
  return { 'Weir-Reason': encodeURIComponent(reason.trim()) }
}
