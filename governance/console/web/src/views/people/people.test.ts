import { expect, test } from 'vitest'
import { splitNames } from '~/views/people/names'

test('namespaces are read as they are typed', () => {
  expect(splitNames(' shop, pay，shop  x ')).toEqual(['shop', 'pay', 'x'])
  expect(splitNames('')).toEqual([])
})
