// Writes of routes. Each waits a while for the gateways, and tells who serves it.
import { answer, api, because, type Schemas } from '~/api/client'
import { refresh } from '~/api/query'
import { keyText, type Key, type Route } from '~/views/routes/route'

export type Result = Schemas['GatewayApiResult']

const wait = '8s'

/** Expect is the revision that was seen: 0 for a route that must not exist. */
function precondition(expect: number): { 'If-Match'?: string; 'If-None-Match'?: string } {
  return expect === 0 ? { 'If-None-Match': '*' } : { 'If-Match': `"${expect}"` }
}

/** written lets all that shows routes be read again. */
function written<T>(r: T): T {
  refresh('/api/v1/routes', '/api/v1/route-status', '/api/v1/gateways', '/api/v1/overview')
  return r
}

export async function putRoute(route: Route, expect: number, reason: string, allowUnknown: boolean): Promise<Result> {
  return written(
    await answer(
      api.PUT('/api/v1/routes/{namespace}/{name}', {
        params: { path: { namespace: route.namespace, name: route.name }, query: { wait, ...(allowUnknown ? { allowUnknown } : {}) }, header: { ...because(reason), ...precondition(expect) } },
        body: route,
      }),
    ),
  )
}

export async function deleteRoute(key: Key, expect: number, reason: string): Promise<Result> {
  return written(await answer(api.DELETE('/api/v1/routes/{namespace}/{name}', { params: { path: key, query: { wait }, header: { ...because(reason), ...precondition(expect) } } })))
}

/** rollbackRoute writes an earlier version again; expect is the newest revision, 0 for a route that was deleted. */
export async function rollbackRoute(key: Key, revision: number, expect: number, reason: string, allowUnknown: boolean): Promise<Result> {
  return written(
    await answer(
      api.POST('/api/v1/routes/{namespace}/{name}/rollback', {
        params: { path: key, query: { wait, ...(allowUnknown ? { allowUnknown } : {}) }, header: { ...because(reason), ...precondition(expect) } },
        body: { revision },
      }),
    ),
  )
}

/** planRoute rehearses a write, or a deletion. Its errors are those that the write would have. */
export function planRoute(route: Route, expect: number, signal?: AbortSignal, remove = false): Promise<Result> {
  return answer(api.POST('/api/v1/routes:plan', { body: { items: [{ route, expect, ...(remove ? { delete: true } : {}) }] }, signal }))
}

/** valueText is a value of a difference as it is shown. */
export function valueText(v: unknown): string {
  return v === undefined ? '' : typeof v === 'string' ? v : JSON.stringify(v)
}

/** unknownOf are the warnings without whose word a write is refused. */
export function unknownOf(r: Result | undefined): Schemas['GatewayWarning'][] {
  return (r?.warnings ?? []).filter((w) => w.unknown === true)
}

/** changedKey is the route that a result is about. */
export function changedKey(r: Result): string {
  const c = r.changes[0]
  return c ? keyText(c.route) : ''
}
