// What a Dubbo method would be called with for a request, as far as it can be
// told without making the call.
import type { Schemas } from '~/api/client'

export interface Sources {
  vars: Record<string, string>
  query: URLSearchParams
  headers: Record<string, string[]>
  /** Text of the body; empty for none. */
  body: string
}

export type Found = { kind: 'value' | 'default'; value: unknown } | { kind: 'null' } | { kind: 'missing' } | { kind: 'notJson' }

/** valueFrom looks a source such as "path.sku" or "body.buyer.name" up; undefined where there is nothing. */
export function valueFrom(from: string, s: Sources): { value: unknown } | 'notJson' | undefined {
  const dot = from.indexOf('.')
  const where = dot < 0 ? from : from.slice(0, dot)
  const name = dot < 0 ? '' : from.slice(dot + 1)
  const several = (all: string[]) => (all.length === 0 ? undefined : { value: all.length === 1 ? all[0] : all })
  switch (where) {
    case 'path':
      return Object.hasOwn(s.vars, name) ? { value: s.vars[name] } : undefined
    case 'query':
      return several(s.query.getAll(name))
    case 'header':
      return several(Object.entries(s.headers).flatMap(([n, values]) => (n.toLowerCase() === name.toLowerCase() ? values : [])))
    case 'body': {
      if (s.body.trim() === '') return undefined
      let v: unknown
      try {
        v = JSON.parse(s.body)
      } catch {
        return 'notJson'
      }
      for (const part of name === '' ? [] : name.split('.')) {
        if (typeof v !== 'object' || v === null || !Object.hasOwn(v, part)) return undefined
        v = (v as Record<string, unknown>)[part]
      }
      return { value: v }
    }
    default:
      return undefined
  }
}

/** argument is what one argument would be. */
export function argument(arg: Schemas['GatewayArg'], s: Sources): Found {
  const v = valueFrom(arg.from, s)
  if (v === 'notJson') return { kind: 'notJson' }
  if (v) return { kind: 'value', value: v.value }
  if (arg.default !== undefined) return { kind: 'default', value: arg.default }
  return arg.optional ? { kind: 'null' } : { kind: 'missing' }
}

/** queryOf reads the query of a URL, or of a path alone. */
export function queryOf(url: string): URLSearchParams {
  const i = url.indexOf('?')
  return new URLSearchParams(i < 0 ? '' : url.slice(i + 1).split('#')[0])
}
