import { describe, expect, test } from 'vitest'
import { asKind, fieldOf, filterFields, isKind, moved, newFilter, shownAs, typed, upstreamKind, type FieldType } from '~/views/routes/form'
import { filterKinds, kindOf } from '~/views/routes/route'

describe('what is typed', () => {
  test.each<[FieldType, string, unknown]>([
    ['number', ' 3 ', { value: 3 }],
    ['number', '0.5', { value: 0.5 }],
    ['number', '3x', { wrong: true }],
    ['number', '', { value: undefined }],
    ['list', 'connect, 503,\n reset,', { value: ['connect', '503', 'reset'] }],
    ['list', ' , ', { value: undefined }],
    ['map', 'A: 1\nB:x:y\n', { value: { A: '1', B: 'x:y' } }],
    ['map', 'no colon', { wrong: true }],
    ['json', '{"a": [1]}', { value: { a: [1] } }],
    ['json', '{a}', { wrong: true }],
    ['check', 'true', { value: true }],
    ['check', 'false', { value: undefined }],
    ['text', '/a b', { value: '/a b' }],
  ])('%s %j', (type, text, want) => expect(typed(type, text)).toEqual(want))
  test.each<[FieldType, unknown]>([
    ['number', 3], ['list', ['a', 'b']], ['map', { A: '1', B: '2' }], ['json', { a: null }], ['text', '2s'],
  ])('%s %j is shown as it is typed', (type, value) => expect(typed(type, shownAs(type, value))).toEqual({ value }))
  test('a single text stands for a list of one', () => expect(shownAs('list', 'GET')).toBe('GET'))
})

describe('filters', () => {
  test('each begins as the filter that it is', () => {
    for (const k of filterKinds) {
      expect(kindOf(newFilter(k))).toBe(k)
      expect(filterFields[k].length).toBeGreaterThan(0)
    }
    expect(isKind('timeout')).toBe(true)
    expect(isKind('toString')).toBe(false)
  })
  test('an order is changed', () => {
    expect(moved(['a', 'b', 'c'], 2, 0)).toEqual(['c', 'a', 'b'])
    expect(moved(['a', 'b', 'c'], 0, 1)).toEqual(['b', 'a', 'c'])
  })
})

describe('upstreams', () => {
  test('their kind', () => {
    expect(upstreamKind({ dubbo: {} })).toBe('dubbo')
    expect(upstreamKind({ url: '' })).toBe('url')
    expect(upstreamKind(null)).toBe('app')
  })
  test('the application stays when the kind changes', () => {
    expect(asKind({ app: 'shop/a', balance: 'random' }, 'dubbo')).toEqual({ dubbo: { app: 'shop/a', interface: '', method: '', args: [] }, balance: 'random' })
    expect(asKind({ dubbo: { app: 'shop/a' } }, 'app')).toEqual({ app: 'shop/a' })
  })
})

test.each([
  ['body.items[0].route.filters[1].retry.attempts', 'filters[1].retry.attempts'],
  ['body.upstream.app', 'upstream.app'],
  ['body', undefined],
  ['body.items[0].route', undefined],
  ['path.name', undefined],
  [undefined, undefined],
])('%s is about %s', (location, want) => expect(fieldOf(location)).toBe(want))
