import { describe, expect, test } from 'vitest'
import { appPath, link, openOf, parseRange, patched, tagOf, turned } from '~/app/address'
import { inside } from '~/app/frame'
import { traceOf } from '~/app/palette'
import { backoff } from '~/live/backoff'

describe('addresses', () => {
  test('a patch sets, and takes out what is empty', () => {
    expect(patched('a=1&b=2', { b: undefined, c: 'x y', d: '', e: true, f: 0 })).toBe('a=1&c=x+y&e=true&f=0')
  })
  test('links', () => {
    expect(link('/traces', {})).toBe('/traces')
    expect(appPath('shop/orders', { command: 'GET /cart/{id}' })).toBe('/apps/shop/orders?command=GET+%2Fcart%2F%7Bid%7D')
  })
  const get = (q: string) => (n: string) => new URLSearchParams(q).get(n) ?? undefined
  test('a range that ends now', () => {
    expect(parseRange(get('range=6h'), 100_000)).toEqual({ name: '6h', seconds: 21_600, from: 78_400, to: 100_000 })
    expect(parseRange(get('range=toString'), 100_000).name).toBe('1h')
  })
  test('a fixed range, in ms, seconds or RFC 3339', () => {
    const want = { seconds: 60, from: 1_700_000_000, to: 1_700_000_060 }
    expect(parseRange(get('from=1700000000000&to=1700000060000'), 1)).toEqual(want)
    expect(parseRange(get('from=1700000000&to=1700000060'), 1)).toEqual(want)
    expect(parseRange(get('from=2023-11-14T22:13:20Z&to=2023-11-14T22:14:20Z'), 1)).toEqual(want)
  })
  test('a range that is none', () => {
    expect(parseRange(get('from=5&to=4'), 10_000, '15m').name).toBe('15m')
    expect(parseRange(get('from=x&to=y'), 10_000).name).toBe('1h')
  })
  test('an entry of the navigation is current for what lies below it', () => {
    expect(inside('/apps/shop/orders', '/apps')).toBe(true)
    expect(inside('/application', '/app')).toBe(false)
    expect(inside('/apps', '/')).toBe(false)
  })
})

describe('finding a trace', () => {
  test.each([
    ['4bf92f3577b34da6a3ce929d0e0e4736', '4bf92f3577b34da6a3ce929d0e0e4736'],
    [' A3CE929D0E0E4736 ', 'a3ce929d0e0e4736'],
    ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '4bf92f3577b34da6a3ce929d0e0e4736'],
    ['orders', undefined],
    ['4bf92f35', undefined],
  ])('%s is %s', (text, want) => expect(traceOf(text)).toBe(want))
})

test('the patience of the live stream grows, and ends', () => {
  expect(backoff(0, () => 1)).toBe(750)
  expect(backoff(3, () => 1)).toBe(4250)
  expect(backoff(50, () => 1)).toBe(15_250)
  expect(backoff(50, () => 0)).toBe(250)
})

describe('what is folded out', () => {
  test('stands in the address by its name, and goes from there', () => {
    expect(turned(undefined, 'changes')).toBe('changes')
    expect(turned('changes', 'needed')).toBe('changes needed')
    expect(turned('changes needed', 'changes')).toBe('needed')
    expect(turned('needed', 'needed')).toBeUndefined()
    expect([...openOf(' a  b ')]).toEqual(['a', 'b'])
  })
  test('has a short name where its own is long', () => {
    expect(tagOf('circuit.open shop/inventory a b')).toMatch(/^[0-9a-z]{1,7}$/)
    expect(tagOf('a')).not.toBe(tagOf('b'))
  })
})
