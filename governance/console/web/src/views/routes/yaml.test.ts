import * as yaml from 'yaml'
import { describe, expect, test } from 'vitest'
import { parse, textOf } from '~/views/routes/yaml'

const own = (code: string, value: string) => `${code} ${value}`.trim()
const read = (text: string) => parse(yaml, text, own)

const text = `# the cart
namespace: shop
name: cart
match: {path: "/shop/cart/{id}", method: GET}
filters:
  - stripPrefix: 1
  - timeout: {total: 2s}   # long enough
  - retry:
      attempts: 2
upstream:
  dubbo:
    attachments: {dubbo.tag: header.X-Tag}
`

describe('places of fields', () => {
  const at = (field: string) => {
    const p = read(text).locate(field)
    return p && `${p.line}:${p.column}`
  }
  test.each([
    ['name', '3:1'],
    ['match.path', '4:9'],
    ['match.method[0]', '4:34'],
    ['filters[1].timeout', '7:5'],
    ['filters[1].timeout.total', '7:15'],
    ['filters[2].retry.attempts', '9:7'],
    ['upstream.dubbo.attachments.dubbo.tag', '12:19'],
  ])('%s is at %s', (field, want) => expect(at(field)).toBe(want))
  test('a field that is missing is where it would belong', () => {
    expect(at('filters[2].retry.budgetPercent')).toBe('8:5')
    expect(at('filters[9]')).toBe('5:1')
    expect(at('priority')).toBe('2:1')
  })
})

describe('reading', () => {
  test('a document', () => expect(read(text).value).toMatchObject({ name: 'cart', filters: [{ stripPrefix: 1 }, { timeout: { total: '2s' } }, { retry: { attempts: 2 } }] }))
  test('what is no YAML is told with its place', () => {
    const d = read('name: cart\nmatch: {path: /cart/{id}}\nname: again\n')
    expect(d.value).toBeUndefined()
    expect(d.faults.some((f) => f.line === 3)).toBe(true)
  })
  test.each(['', '- a\n', 'text\n'])('%j is no route', (t) => expect(read(t).faults.map((f) => f.message)).toEqual(['notMapping']))
  test('numbers that a browser would change are refused', () => {
    expect(read('filters: [{fallback: {body: {id: 12345678901234567890}}}]\n').faults).toMatchObject([{ line: 1, message: 'tooLarge 12345678901234567890' }])
  })
})

describe('editing', () => {
  test('comments and order stay', () => {
    const after = read(text).edit(['filters', 1, 'timeout', 'total'], '3s')
    expect(after).toContain('# the cart')
    expect(after).toContain('timeout: {total: 3s} # long enough')
    expect(read(after).value).toMatchObject({ name: 'cart', filters: [{}, { timeout: { total: '3s' } }, {}] })
  })
  test('what is not there is made', () => {
    expect(read(read('name: x\n').edit(['upstream', 'dubbo', 'app'], 'shop/a')).value).toEqual({ name: 'x', upstream: { dubbo: { app: 'shop/a' } } })
    expect(read(read('name: x\nfilters:\n').edit(['filters', 0], { stripPrefix: 1 })).value).toEqual({ name: 'x', filters: [{ stripPrefix: 1 }] })
  })
  test('undefined takes out', () => expect(read(read(text).edit(['match', 'method'], undefined)).value?.match).toEqual({ path: '/shop/cart/{id}' }))
  test('a pattern in a flow mapping is quoted', () => {
    const after = read('match: {path: /x}\n').edit(['match', 'path'], '/x/{id}')
    expect(read(after).value?.match).toEqual({ path: '/x/{id}' })
  })
})

test('what is written reads as it was', () => {
  const route = { namespace: 'shop', name: 'cart', match: { path: '/shop/{rest...}', method: ['GET'] }, filters: [{ stripPrefix: 1 }, { fallback: { status: 200, body: { items: [], text: 'a: b # c', yes: 'yes', n: '503' } } }], upstream: { app: 'shop/storefront' } }
  const text = textOf(yaml, route)
  expect(read(text).value).toEqual(route)
  expect(text).toBe(`namespace: shop
name: cart
match:
  path: /shop/{rest...}
  method: [GET]
filters:
  - stripPrefix: 1
  - fallback:
      status: 200
      body: {items: [], text: "a: b # c", yes: yes, n: "503"}
upstream:
  app: shop/storefront
`)
})
