// Every view and every selection has its address: what a view shows besides its
// path stands in the query of the address, and is read and written here.
import { useCallback, useMemo } from 'preact/hooks'
import { useLocation, useSearch } from 'wouter-preact'

export type Patch = Record<string, string | number | boolean | undefined | null>

/** patched returns a query with some parameters set, and those that are empty taken out. */
export function patched(search: string, patch: Patch): string {
  const q = new URLSearchParams(search)
  for (const [name, value] of Object.entries(patch)) {
    if (value === undefined || value === null || value === '' || value === false) q.delete(name)
    else q.set(name, String(value))
  }
  return q.toString()
}

/** link returns an address from its path and parameters. */
export function link(path: string, params: Patch = {}): string {
  const q = patched('', params)
  return q === '' ? path : `${path}?${q}`
}

/** appPath is the address of an application, from "namespace/name". */
export function appPath(app: string, params: Patch = {}): string {
  return link(`/apps/${app.split('/').map(encodeURIComponent).join('/')}`, params)
}

export interface Address {
  path: string
  get(name: string): string | undefined
  all(name: string): string[]
  /** set changes parameters; the step before can be gone back to, unless replace is said. */
  set(patch: Patch, options?: { replace?: boolean }): void
  /** go leads elsewhere. */
  go(to: string, options?: { replace?: boolean }): void
  /** with is this address with some parameters changed, for a link. */
  with(patch: Patch): string
}

export function useAddress(): Address {
  const [path, navigate] = useLocation()
  const search = useSearch()
  const set = useCallback(
    (patch: Patch, options?: { replace?: boolean }) => {
      const q = patched(location.search, patch)
      navigate(q === '' ? location.pathname : `${location.pathname}?${q}`, options)
    },
    [navigate],
  )
  return useMemo(() => {
    const q = new URLSearchParams(search)
    return {
      path,
      get: (name) => q.get(name) ?? undefined,
      all: (name) => q.getAll(name),
      set,
      go: navigate,
      with: (patch) => {
        const next = patched(search, patch)
        return next === '' ? path : `${path}?${next}`
      },
    }
  }, [path, search, set, navigate])
}

/** turned is a parameter that says what is open, with one name put in or taken out. */
export function turned(said: string | undefined, name: string): string | undefined {
  const names = openOf(said)
  if (!names.delete(name)) names.add(name)
  return names.size === 0 ? undefined : [...names].join(' ')
}

/** openOf are the names of what an address has open; none of them holds a space. */
export function openOf(said: string | undefined): Set<string> {
  return new Set((said ?? '').split(' ').filter((n) => n !== ''))
}

/** useOpened reads and turns whether a part is open; several may share a parameter. */
export function useOpened(param: string, name: string): [open: boolean, turn: () => void] {
  const { get, set } = useAddress()
  const open = openOf(get(param)).has(name)
  return [open, useCallback(() => set({ [param]: turned(get(param), name) }, { replace: true }), [get, set, param, name])]
}

/** tagOf is a short name for a long one, for an address. */
export function tagOf(text: string): string {
  let h = 2166136261
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619)
  return (h >>> 0).toString(36)
}

/** The ranges that end now. */
export const ranges = { '15m': 900, '1h': 3600, '6h': 21_600, '24h': 86_400, '7d': 604_800 } as const
export type RangeName = keyof typeof ranges

export interface Range {
  /** Name of a range that ends now; undefined for a fixed one. */
  name?: RangeName
  /** Seconds it lasts. */
  seconds: number
  /** Unix seconds. Of a range that ends now, as of this moment. */
  from: number
  to: number
}

/** parseRange reads the range of an address; another one stands in where there is none. */
export function parseRange(get: (name: string) => string | undefined, now: number, otherwise: RangeName = '1h'): Range {
  const from = instant(get('from'))
  const to = instant(get('to'))
  if (from !== undefined && to !== undefined && from < to) return { seconds: to - from, from, to }
  const said = get('range')
  const name = said !== undefined && Object.hasOwn(ranges, said) ? (said as RangeName) : otherwise
  return { name, seconds: ranges[name], from: now - ranges[name], to: now }
}

/** since is a range as the APIs of the history take it: one that ends now is one question for as long as it is shown, however time goes on. */
export function since(r: Range): { from: string; to?: string } {
  return r.name === undefined ? rangeQuery(r) : { from: `-${ranges[r.name]}s` }
}

/** around is the range around a moment, as the address of a view. */
export function around(at: string | number, minutes = 15): { from: number; to: number } {
  const t = new Date(at).getTime()
  return { from: t - minutes * 60_000, to: t + minutes * 60_000 }
}

function instant(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const v = /^\d{11,}$/.test(text) ? Number(text) : /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  return Number.isNaN(v) ? undefined : v / 1000
}

/** rangeQuery is a range as the APIs take it. */
export function rangeQuery(r: Range): { from: string; to: string } {
  return { from: new Date(r.from * 1000).toISOString(), to: new Date(r.to * 1000).toISOString() }
}
