import { describe, expect, test } from 'vitest'
import { check, duration, formatTags, idOf, parseTags, toAddress, toQuery, wantedOf } from './search'

const none = wantedOf(() => undefined)
const range = { seconds: 3600, from: 0, to: 3600 }

describe('tags', () => {
  test.each([
    ['', []],
    ['error', [{ key: 'error' }]],
    ['http.path=/a=b and error', [{ key: 'http.path', value: '/a=b' }, { key: 'error' }]],
    ['a = 1  AND  b', [{ key: 'a', value: '1' }, { key: 'b' }]],
    ['brand=this and', [{ key: 'brand', value: 'this and' }]],
    ['a and a=1', [{ key: 'a', value: '1' }]],
    ['=x and  and b', [{ key: 'b' }]],
    ['a=', [{ key: 'a', value: '' }]],
  ])('%j', (text, want) => expect(parseTags(text)).toEqual(want))
  test('are written as they are read', () => {
    const text = 'error and http.path=/a=b and x='
    expect(formatTags(parseTags(text))).toBe(text)
  })
})

test.each([
  ['', ''], ['200', '200ms'], ['1.5 s', '1.5s'], ['1,5s', '1.5s'], ['1m30s', '1m30s'], ['fast', undefined], ['-5ms', undefined], ['5 parsecs', undefined],
])('duration %j is %j', (text, want) => expect(duration(text)).toBe(want))

test('durations that the API would refuse are found', () => {
  expect(check({ ...none, min: 'x', max: '1s' })).toEqual({ min: 'duration' })
  expect(check({ ...none, min: '2s', max: '900' })).toEqual({ max: 'durations' })
  expect(check({ ...none, min: '900', max: '2s' })).toEqual({})
  expect(check({ ...none, max: '2s' })).toEqual({})
})

describe('the address', () => {
  test('says an application by its namespace, and a service by its name alone', () => {
    expect(toAddress({ ...none, app: ' shop/orders ' })).toMatchObject({ app: 'shop/orders', service: undefined })
    expect(toAddress({ ...none, app: 'orders', peer: 'cart-db' })).toMatchObject({ app: undefined, service: 'orders', peer: undefined, remote: 'cart-db' })
  })
  test('keeps all that was wanted', () => {
    const w = { app: 'shop/orders', command: 'GET /cart', span: 'get', peer: 'shop/stock', tags: 'a=1 and b', min: '5ms', max: '1s', error: true, limit: 250 }
    const q = new URLSearchParams(Object.entries(toAddress(w)).flatMap(([k, v]) => (v === undefined ? [] : [[k, String(v)]])))
    expect(wantedOf((n) => q.get(n) ?? undefined)).toEqual(w)
  })
  test('a limit that is none, or too many, does not matter', () => {
    expect(wantedOf((n) => (n === 'limit' ? 'x' : undefined)).limit).toBe(50)
    expect(wantedOf((n) => (n === 'limit' ? '99999' : undefined)).limit).toBe(1000)
  })
})

describe('the question', () => {
  test('names only what is wanted', () => {
    expect(toQuery(none, range)).toEqual({ limit: 50, from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T01:00:00.000Z' })
  })
  test('has no end where the range ends now', () => {
    expect(toQuery({ ...none, error: true, span: 'get', min: '5' }, { ...range, name: '1h' })).toEqual({ limit: 50, error: true, span: 'get', minDuration: '5ms', from: '1970-01-01T00:00:00.000Z' })
  })
})

const id = '463ac35c9f6413ad48485a3953bb6124'
test.each([
  [` ${id.toUpperCase()} `, id], [`00-${id}-48485a3953bb6124-01`, id], [`https://weir.example.com/traces/${id}?span=1`, id], ['1f', '1f'], ['', undefined], ['hello', undefined], [`${id}0`, undefined],
])('the id in %j is %j', (text, want) => expect(idOf(text)).toBe(want))
