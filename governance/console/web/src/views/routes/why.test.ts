import { beforeEach, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { whyWords } from '~/views/routes/why'

beforeEach(() => setLang('zh'))

test.each([
  ['it is the only route that takes the request', '只有它接受此请求'],
  ['it goes before shop/storefront: its path /shop/stock/{sku} is more specific than /shop/{rest...}', '优先于 shop/storefront：路径 /shop/stock/{sku} 比 /shop/{rest...} 更具体'],
  ["shop/a goes before it: its priority is 5, the other's -1", 'shop/a 优先于它：优先级为 5，对方为 -1'],
  ['its method is POST, not GET', '方法是 POST，而不是 GET'],
  ['its host is a.example.com or b.example.com, not ""', '域名是 a.example.com or b.example.com，而不是 ""'],
  ["its path /x does not take the request's", '路径 /x 不匹配请求的路径'],
  ['it is disabled; its method is POST, not GET', '已停用; 方法是 POST，而不是 GET'],
  ['something new', 'something new'],
])('%s', (why, want) => expect(whyWords(why)).toBe(want))

test('English stays as it is', () => {
  setLang('en')
  for (const why of ['it names its methods', 'shop/a goes before it: nothing else tells them apart, and its name comes first', 'it needs X-A: v2']) expect(whyWords(why)).toBe(why)
})
