import { describe, expect, test } from 'vitest'
import { endingOf, thingOf, whoOf } from './model'

test.each([
  ['', { ending: 'open' }],
  ['ok', { ending: 'done' }],
  ['failed: no such route', { ending: 'failed', text: 'no such route' }],
  ['denied: needs the role operator', { ending: 'denied', text: 'needs the role operator' }],
  ['strange', { ending: 'other', text: 'strange' }],
])('the outcome %j', (outcome, want) => expect(endingOf(outcome)).toEqual(want))

describe('objects', () => {
  test.each([
    ['route shop/cart', '/routes/shop/cart'],
    ['dry run: route shop/cart', '/routes/shop/cart'],
    ['routes shop/a, shop/b', '/routes'],
    ['switch shop/reserve-off', '/policies/shop/reserve-off'],
    ['switch of shop/inventory GET /cart/{id}', '/apps/shop/inventory?command=GET+%2Fcart%2F%7Bid%7D'],
    ['switch of shop/inventory ', undefined],
    ['account ann', '/people'],
    ['token ci', '/people'],
    ['session', undefined],
    ['own password', undefined],
    ['route not-a-key', undefined],
  ])('%s leads to %s', (object, to) => expect(thingOf(object).to).toBe(to))
  test('a policy leads to the version that was made', () => {
    expect(thingOf('policy shop/reserve', 7).to).toBe('/policies/shop/reserve?version=7')
    expect(thingOf('policy shop/reserve').to).toBe('/policies/shop/reserve')
  })
  test('a rehearsal says so', () => {
    expect(thingOf('dry run: route shop/cart')).toMatchObject({ rehearsed: true, text: 'route shop/cart' })
  })
})

test('a principal has a kind and a name', () => {
  expect(whoOf('user:admin')).toEqual({ kind: 'user', name: 'admin' })
  expect(whoOf('instance:shop/orders:7')).toEqual({ kind: 'instance', name: 'shop/orders:7' })
  expect(whoOf('x')).toEqual({ kind: '', name: 'x' })
})
