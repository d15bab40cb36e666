import { describe, expect, test } from 'vitest'
import { noFallback } from '~/policy/form'
import { asked, extended, lasts, prepare } from '~/views/switches/pull'
import { about, refusedRate, seconds, traffic, type Counted } from '~/views/switches/rates'

const of = (query: string) => {
  const q = new URLSearchParams(query)
  return asked((n) => q.get(n) ?? undefined, (n) => q.getAll(n))
}

describe('what an address asks to pull', () => {
  test.each([
    ['pull=new', '', ''],
    ['pull=shop/inventory', 'shop/inventory', ''],
    ['pull=shop/inventory/InventoryService.reserve', 'shop/inventory', 'InventoryService.reserve'],
    ['pull=shop/cart/GET%20/cart/{id}', 'shop/cart', 'GET /cart/{id}'],
    ['app=shop/cart&command=GET%20/cart', 'shop/cart', 'GET /cart'],
  ])('%s', (query, app, command) => expect(of(query)).toMatchObject({ app, command, at: 'provider', preset: '30m' }))
  test('nothing', () => expect(of('q=x')).toBeUndefined())
  test('callers belong to the caller side', () => {
    expect(of('pull=a/b&at=caller&from=c/d&from=c/e')).toMatchObject({ at: 'caller', from: ['c/d', 'c/e'] })
    expect(of('pull=a/b&from=c/d')?.from).toEqual([])
  })
})

describe('the request', () => {
  const form = of('pull=shop/inventory/reserve')!
  test('by default half an hour, and what the code has', () => {
    const p = prepare(form)
    expect(p.body).toEqual({ target: { app: 'shop/inventory', command: 'reserve' }, for: '30m' })
    expect(p.doc).toEqual({ kind: 'switch', target: { app: 'shop/inventory', command: 'reserve' }, breaker: { mode: 'forcedOpen' } })
  })
  test('the last good answer, and a value where there is none', () => {
    const p = prepare({ ...form, preset: 'never', fallback: { ...noFallback, kind: 'cached', maxAge: '5m', else: { ...noFallback, kind: 'value', value: 'null' } } })
    expect(p.body).toEqual({ target: { app: 'shop/inventory', command: 'reserve' }, cached: { maxAge: '5m' }, value: null })
    expect(p.doc.fallback).toEqual({ cached: { maxAge: '5m' }, else: { value: null } })
  })
  test('a time that is none', () => {
    expect(prepare({ ...form, preset: 'own', own: '90' }).trouble).toEqual({ for: 'duration' })
    expect([lasts({ preset: 'own', own: '90m' }), lasts({ preset: 'own', own: '0s' }), lasts({ preset: 'never', own: '' })]).toEqual([5_400_000, NaN, undefined])
  })
  test('another end leaves the rest', () => {
    const p = { kind: 'switch', target: { app: 'a/b' }, expires: '2026-01-01T00:00:00Z', fallback: { empty: true } }
    expect(extended(p, 60_000, Date.parse('2026-01-01T00:00:00Z'))).toEqual({ ...p, expires: '2026-01-01T00:01:00.000Z' })
    expect('expires' in extended(p, undefined, 0)).toBe(false)
  })
})

describe('what a switch refuses', () => {
  const counted = (patch: Partial<Counted>): Counted => ({ command: 'S.m', at: 'provider', calls: 0, counts: {}, ...patch })
  test('the commands that it is about', () => {
    expect(about({ app: 'a/b' }, counted({}))).toBe(true)
    expect(about({ app: 'a/b', command: 'org.x.S.m' }, counted({}))).toBe(true)
    expect(about({ app: 'a/b', command: 'S.other' }, counted({}))).toBe(false)
    expect(about({ app: 'a/b', at: 'caller' }, counted({}))).toBe(false)
    expect(about({ app: 'a/b', at: 'caller' }, counted({ at: 'caller', peer: 'a/b' }))).toBe(true)
    expect(about({ app: 'a/b', at: 'caller' }, counted({ at: 'caller', peer: 'a/c' }))).toBe(false)
  })
  test('a second, over what ran and what did not', () => {
    const list = [counted({ calls: 2 * seconds, counts: { switched: seconds, success: seconds / 3, failure: seconds / 3, timeout: seconds / 3 } })]
    expect(refusedRate(list)).toBe(1)
    expect(traffic(list).rate).toBe(2)
    expect(traffic(list).errorPercent).toBeCloseTo(66.67, 1)
    expect(traffic([]).errorPercent).toBe(0)
  })
})
