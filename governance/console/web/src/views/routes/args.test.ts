import { expect, test } from 'vitest'
import { argument, queryOf, valueFrom, type Sources } from '~/views/routes/args'

const s: Sources = { vars: { sku: 'book' }, query: queryOf('/x?n=1&tag=a&tag=b#frag'), headers: { 'X-Tenant': ['t1'] }, body: '{"count": 2, "buyer": {"name": "Li", "none": null}}' }

test.each([
  ['path.sku', { value: 'book' }],
  ['path.id', undefined],
  ['query.n', { value: '1' }],
  ['query.tag', { value: ['a', 'b'] }],
  ['query.x', undefined],
  ['header.x-tenant', { value: 't1' }],
  ['body', { value: { count: 2, buyer: { name: 'Li', none: null } } }],
  ['body.buyer.name', { value: 'Li' }],
  ['body.buyer.none', { value: null }],
  ['body.buyer.name.x', undefined],
  ['body.toString', undefined],
  ['nowhere', undefined],
])('%s', (from, want) => expect(valueFrom(from, s)).toEqual(want))

test('what is missing has its default, is null where that is allowed, or is an error', () => {
  const none = { ...s, body: '' }
  expect(argument({ type: 'int', from: 'body.count' }, s)).toEqual({ kind: 'value', value: 2 })
  expect(argument({ type: 'int', from: 'body.count', default: 1 }, none)).toEqual({ kind: 'default', value: 1 })
  expect(argument({ type: 'int', from: 'body.count', optional: true }, none)).toEqual({ kind: 'null' })
  expect(argument({ type: 'int', from: 'body.count' }, none)).toEqual({ kind: 'missing' })
  expect(argument({ type: 'int', from: 'body.count' }, { ...s, body: 'count=2' })).toEqual({ kind: 'notJson' })
})
