import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import type { Route, Version } from '~/views/routes/route'
import { batches, callableShare, rowsOf, troublesOf, worstFirst, type RouteStatus } from '~/views/routes/status'

beforeEach(() => setLang('en'))

const route: Route = { namespace: 'shop', name: 'cart', match: {}, upstream: { app: 'shop/storefront' } }
const version: Version = { route, revision: 7, created: '2026-01-01T00:00:00Z', actor: 'user:a', reason: 'r' }
const status = (s: Partial<RouteStatus>): RouteStatus => ({ route: 'shop/cart', states: {}, upstreams: [], gateways: 2, serving: 2, quarantined: [], ...s })
const upstream = (u: object) => ({ app: 'shop/storefront', known: true, instances: 3, callable: 3, held: [], ...u })
const kinds = (v: Version, s?: RouteStatus, ...rest: [never[]?, never[]?]) => troublesOf(v, s, ...rest).map((x) => x.kind)

describe('what is not well', () => {
  test('nothing, where nothing is known or all is well', () => {
    expect(kinds(version)).toEqual([])
    expect(kinds(version, status({ upstreams: [upstream({})], states: { closed: 2 } }))).toEqual([])
    expect(kinds(version, status({ upstreams: [upstream({ known: undefined, instances: 0, callable: 0 })] }))).toEqual([])
    expect(kinds(version, status({ upstreams: [upstream({ hidden: true, instances: 0, callable: 0 })] }))).toEqual([])
  })
  test('endpoints', () => {
    expect(kinds(version, status({ upstreams: [upstream({ known: false })] }))).toEqual(['unknownApp'])
    expect(kinds(version, status({ upstreams: [upstream({ callable: 0 })] }))).toEqual(['noEndpoint'])
    const held = troublesOf(version, status({ upstreams: [upstream({ callable: 2, held: [{ why: 'not ready', instances: 1 }] })] }))
    expect(held).toMatchObject([{ kind: 'held', tone: 'warn', text: 'shop/storefront: 1 instance: not ready' }])
  })
  test('gateways: who cannot serve it is more than who is behind', () => {
    expect(kinds(version, status({ serving: 1 }))).toEqual(['notServed'])
    expect(kinds(version, status({ serving: 1, quarantined: [{ gateway: 'g1', reason: 'too new' }] }))).toEqual(['quarantined'])
  })
  test('the worst comes first', () => {
    const f = [{ route: { namespace: 'shop', name: 'cart' }, kind: 'shadowed' as const, by: [], message: 'm' }]
    const w = [{ route: { namespace: 'shop', name: 'cart' }, message: 'no such method' }]
    expect(troublesOf(version, status({ states: { forcedOpen: 1 }, quarantined: [{ gateway: 'g', reason: 'x' }] }), f, w).map((x) => x.kind)).toEqual(['quarantined', 'open', 'shadowed', 'doubtful'])
  })
  test('an unknown application is told once', () => {
    const w = [{ route: { namespace: 'shop', name: 'cart' }, message: 'no application', unknown: true }]
    expect(troublesOf(version, status({ upstreams: [upstream({ known: false })] }), [], w)).toHaveLength(1)
    expect(troublesOf(version, undefined, [], w)).toMatchObject([{ kind: 'unknownApp', text: 'no application' }])
  })
  test('of a disabled route only what is wrong with its document', () => expect(kinds({ ...version, route: { ...route, disabled: true } }, status({ serving: 0, upstreams: [upstream({ callable: 0 })] }))).toEqual([]))
})

test('rows are joined by their key', () => {
  const rows = rowsOf([version, { ...version, route: { ...route, name: 'other' } }], [status({ rate: 3 })], { findings: [{ route: { namespace: 'shop', name: 'other' }, kind: 'duplicate', by: null, message: 'm' }], warnings: [], unfinished: false })
  expect(rows.map((r) => [r.key, r.status?.rate, r.troubles.length])).toEqual([['shop/cart', 3, 0], ['shop/other', undefined, 1]])
})

test('what is wrong comes first', () => {
  const of = (name: string) => ({ ...version, route: { ...route, name } })
  const rows = rowsOf([of('a'), of('b'), of('c'), of('d')], [status({ route: 'shop/d', upstreams: [upstream({ callable: 0 })] }), status({ route: 'shop/c', serving: 1 })], undefined)
  expect(worstFirst(rows).map((r) => r.route.name)).toEqual(['d', 'c', 'a', 'b'])
})

test('the share of callable endpoints is that of the worst upstream', () => {
  expect(callableShare(status({}))).toBeUndefined()
  expect(callableShare(status({ upstreams: [upstream({}), upstream({ callable: 1, instances: 4 })] }))).toBe(0.25)
  expect(callableShare(status({ upstreams: [upstream({ callable: 0, instances: 0 })] }))).toBe(0)
})

test('batches keep below the size, and lose nothing', () => {
  const many = Array.from({ length: 50 }, (_, i) => ({ ...route, name: `r${i}` }))
  const parts = batches(many, 1000)
  expect(parts.length).toBeGreaterThan(5)
  expect(parts.flat()).toEqual(many)
  expect(batches([])).toEqual([])
})
