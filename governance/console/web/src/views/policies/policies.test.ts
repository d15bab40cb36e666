import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import * as format from '~/i18n/format'
import type { Policy, Version } from '~/policy/model'
import { begun, conflictOf, edited, fresh, meant, nameOf, typed, worthAsking } from '~/views/policies/draft'
import { around, changeOf, commandsOf, lines, moments, sources, totalOf } from '~/views/policies/moments'

beforeEach(() => setLang('en'))

const policy: Policy = { namespace: 'shop', name: 'inventory.all', kind: 'policy', target: { app: 'shop/inventory', at: 'provider' }, timeout: '1m0s' }

describe('a draft', () => {
  const get = (query: string) => (n: string) => new URLSearchParams(query).get(n) ?? undefined
  test('begins as the address asks', () => {
    expect(fresh(get('app=shop/a&command=S.m&at=caller&from=shop/b')).form).toMatchObject({ app: 'shop/a', command: 'S.m', at: 'caller', from: ['shop/b'] })
    expect(fresh(get('from=shop/b')).form.from).toEqual([])
  })
  test('what was changed last counts', () => {
    const d = begun(policy, 7)
    expect(meant(d, undefined).doc).toEqual({ name: 'inventory.all', target: { app: 'shop/inventory' }, timeout: '1m' })
    const text = typed(d, 'target: {app: shop/b}', { target: { app: 'shop/b' } })
    expect(text.form.app).toBe('shop/b')
    expect(text.base).toBe(7)
    expect(meant(text, { target: { app: 'shop/b' } }).doc).toEqual({ target: { app: 'shop/b' } })
    const form = edited(text, { timeout: '2s' })
    expect(form.text).toBeUndefined()
    expect(meant(form, undefined).doc).toEqual({ target: { app: 'shop/b' }, timeout: '2s' })
  })
  test('a text that cannot be read leaves the form, and is no document', () => {
    const d = typed(begun(policy, 7), 'target: {', undefined)
    expect(d.form.app).toBe('shop/inventory')
    expect(meant(d, undefined)).toEqual({ doc: undefined, trouble: {} })
  })
  test('a field that the form does not know stays in the document, for the server to refuse', () => {
    const doc = { target: { app: 'a/b' }, retries: 3 } as unknown as Policy
    expect(meant(typed(begun(policy, 1), 'x', doc), doc).doc).toBe(doc)
  })
  test('a switch refuses', () => expect(edited(begun(policy, 1), { kind: 'switch' }).form.mode).toBe('forcedOpen'))
  test('conflicts', () => {
    expect(conflictOf(undefined, undefined)).toBeUndefined()
    expect(conflictOf(7, { version: 7 })).toBeUndefined()
    expect(conflictOf(7, { version: 9 })).toBe('changed')
    expect(conflictOf(undefined, { version: 9 })).toBe('new')
  })
  test('the name is that of the address, or as the server makes it', () => {
    expect(nameOf('a/b', policy)).toBe('a/b')
    expect(nameOf(undefined, policy)).toBe('shop/inventory.all')
    expect(nameOf(undefined, undefined)).toBeUndefined()
  })
  test('the server is asked about what names an application', () => {
    expect(worthAsking({ target: { app: 'shop/a' } })).toBe(true)
    expect(worthAsking({ target: { app: 'shop' } })).toBe(false)
    expect(worthAsking({} as Policy)).toBe(false)
  })
})

describe('before and after', () => {
  const v = (version: number, at: number): Version => ({ version, created: new Date(at).toISOString(), actor: 'a', reason: 'r', policy })
  const t = Date.parse('2026-11-29T10:00:00Z')
  test('a quarter of an hour to both sides, as far as it has passed', () => {
    expect(moments(v(2, t), [v(2, t)], t + around + 1)).toMatchObject({ before: { from: t - around, to: t }, after: { from: t, to: t + around } })
    expect(moments(v(2, t), [], t + 30_000).after).toEqual({ from: t, to: t + 30_000 })
  })
  test('other versions end it, unless they came together', () => {
    const all = [v(4, t + 5_000), v(3, t + 60_000), v(2, t), v(1, t - 60_000)]
    expect(moments(v(2, t), all, t + around)).toMatchObject({ before: { from: t - 60_000 }, after: { to: t + 60_000 } })
  })
  test('who counted', () => {
    const caller = { ...policy, target: { app: 'a/b', at: 'caller' } }
    const confirmation = { version: 1, live: 1, confirmed: 1, pending: 0, refused: 0, instances: [{ app: 'c/d', instance: 'i', state: 'confirmed' as const, wanted: 1, applied: 1 }] }
    expect(sources(policy, undefined)).toEqual([{ app: 'shop/inventory', at: 'provider' }])
    expect(sources(caller, confirmation)).toEqual([{ app: 'c/d', at: 'caller', peer: 'a/b' }])
    expect(sources({ ...caller, target: { ...caller.target, from: ['e/f'] } }, confirmation)).toEqual([{ app: 'e/f', at: 'caller', peer: 'a/b' }])
  })
  test('the commands that it is about', () => {
    const list = [{ command: 'S.m', at: 'provider' }, { command: 'S.n', at: 'provider' }, { command: 'S.m', at: 'caller', peer: 'a/b' }]
    const provider = { app: 'x/y', at: 'provider' } as const
    expect(commandsOf(list, provider, undefined)).toEqual(['S.m', 'S.n'])
    expect(commandsOf(list, provider, 'org.x.S.m')).toEqual(['S.m'])
    expect(commandsOf(list, { app: 'x/y', at: 'caller', peer: 'a/b' }, undefined)).toEqual(['S.m'])
    expect(totalOf(list, { app: 'x/y', at: 'caller', peer: 'a/c' }, 'S.m')).toBeUndefined()
  })
  test('points are calls a second, and a gap where nothing ran', () => {
    const l = lines([{ time: '1970-01-01T00:00:10Z', counts: { success: 50, failure: 10, switched: 20 }, inFlight: 0, instances: 1 }], 10, format.goDuration)
    expect(l).toEqual({ times: [10], ran: [5], failed: [1], refused: [2], p50: [null], p99: [null] })
  })
  test('how a figure changed', () => {
    expect([changeOf(20, 30), changeOf(29, 18.7), changeOf(20, 20.01), changeOf(0, 5), changeOf(undefined, 5)]).toEqual(['+50', '−36', '±0', undefined, undefined])
    expect([changeOf(0, 12.34, true), changeOf(5, 5.02, true)]).toEqual(['+12.3', '±0'])
  })
})
