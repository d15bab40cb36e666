// State of the server, as TanStack Query keeps it. A view asks with useGet and
// renders the result with ui/Loaded, which knows of loading, errors and staleness.
import { QueryClient, keepPreviousData, useQuery, type UseQueryResult } from '@tanstack/preact-query'
import type { paths } from '#api'
import { useRef } from 'preact/hooks'
import { answer, api, Problem } from '~/api/client'

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 5 * 60_000,
      retry: (failures, err) => err instanceof Problem && (err.status === 0 || err.status >= 502) && failures < 2,
      retryDelay: (attempt) => Math.random() * Math.min(8_000, 500 * 2 ** attempt),
      refetchOnReconnect: true,
      placeholderData: keepPreviousData,
      // "offline" says little of a server that stands beside.
      networkMode: 'always',
    },
    mutations: { networkMode: 'always' },
  },
})

/** Paths that can be read. */
export type GetPath = { [P in keyof paths]: paths[P] extends { get: infer O } ? (O extends { responses: unknown } ? P : never) : never }[keyof paths]
type Operation<P extends GetPath> = paths[P] extends { get: infer O } ? O : never
type ParametersOf<O> = O extends { parameters: { query?: infer Q; path?: infer A } } ? { query?: Q; path?: A } : never
/** What a path takes. */
export type GetParams<P extends GetPath> = { query?: NonNullable<ParametersOf<Operation<P>>['query']>; path?: NonNullable<ParametersOf<Operation<P>>['path']> }
/** What a path answers. */
export type GetAnswer<P extends GetPath> = Operation<P> extends { responses: { 200: { content: { 'application/json': infer B } } } } ? B : never

export interface GetOptions {
  /** Ask again every so many ms while the view is shown. */
  every?: number | false
  /** Do not ask yet. */
  enabled?: boolean
  staleTime?: number
  /** Show the answer to the question before while this one is asked. Default true. */
  keep?: boolean
  /** Ask again by itself when the server is too busy. Default true; not where asking is dear. */
  retry?: false
}

/** keyOf is the query key of a question: invalidate by its beginning, the path. */
export function keyOf<P extends GetPath>(path: P, params?: GetParams<P>): unknown[] {
  return params ? [path, params] : [path]
}

export function getQuery<P extends GetPath>(path: P, params?: GetParams<P>) {
  return {
    queryKey: keyOf(path, params),
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      // The generic path defeats the client's own inference; the types of this function stand in.
      answer((api.GET as (p: string, init: object) => Promise<{ data?: GetAnswer<P>; error?: unknown; response: Response }>)(path, { params, signal })) as Promise<GetAnswer<P>>,
  }
}

/** useGet reads a path and keeps it up to date. */
export function useGet<P extends GetPath>(path: P, params?: GetParams<P>, options: GetOptions = {}): UseQueryResult<GetAnswer<P>, Problem> {
  const asked = getQuery(path, params)
  const key = JSON.stringify(asked.queryKey)
  const failed = useRef<{ key: string; error: Problem }>()
  const query = useQuery<GetAnswer<P>, Problem>({
    ...asked,
    refetchInterval: options.every ?? false,
    enabled: options.enabled ?? true,
    ...(options.staleTime === undefined ? {} : { staleTime: options.staleTime }),
    ...(options.keep === false ? { placeholderData: undefined } : {}),
    ...(options.retry === false ? { retry: false } : {}),
  }) as UseQueryResult<GetAnswer<P>, Problem>
  if (query.error) failed.current = { key, error: query.error }
  else if (query.data !== undefined) failed.current = undefined
  // While it is asked again, a question forgets that it was answered by an error, and a
  // view that asks every few seconds would turn from that to a skeleton and back.
  const held = query.data === undefined && !query.error && failed.current?.key === key ? failed.current.error : undefined
  return held ? (Object.create(query, { error: { value: held } }) as typeof query) : query
}

let writes = 0
const held = new Set<string>()
// Until a view has drawn what its write came to, it still asks about what was before it.
const settling = 250

/**
 * refresh asks again whatever was read below these paths; while something is being
 * written, once that is done.
 */
export function refresh(...beginnings: string[]) {
  if (writes > 0) {
    for (const b of beginnings) held.add(b)
    return
  }
  void queries.invalidateQueries({ predicate: (q) => beginnings.some((b) => String(q.queryKey[0]).startsWith(b)) })
}

/**
 * writing runs a write. The live stream tells of it before the write itself is
 * answered: a rehearsal asked again at that moment would find one's own write, and
 * call it somebody else's.
 */
export async function writing<T>(write: () => Promise<T>): Promise<T> {
  writes++
  try {
    return await write()
  } finally {
    setTimeout(() => {
      if (--writes > 0) return
      const all = [...held]
      held.clear()
      if (all.length > 0) refresh(...all)
    }, settling)
  }
}

const wanted = new Set<string>()
let due: ReturnType<typeof setTimeout> | undefined

/** refreshSoon asks again within a second: a storm of reasons is one question. */
export function refreshSoon(...beginnings: string[]) {
  for (const b of beginnings) wanted.add(b)
  due ??= setTimeout(() => {
    due = undefined
    const all = [...wanted]
    wanted.clear()
    refresh(...all)
  }, 1000)
}
