import { render } from 'preact'
import { parseDocument } from 'yaml'
import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { fetchCatalogue, Said, say } from '~/said'
import sentences from './sentences.json'
import { verb } from './translate'
import { catalogue, chinese } from './zh'
import { system } from './zh/system'

/** How many verbs a format string has. */
function verbs(format: string): number {
  return [...format.matchAll(verb)].filter((m) => m[2] !== '%').length
}

// An example of a sentence: what its verbs could be.
function example(format: string): string {
  return format.replace(verb, (_, __, v: string) => (v === '%' ? '%' : v === 'q' ? '"x1"' : v === 'd' ? '7' : v === 'g' || v === 'f' ? '0.5' : 'shop/x'))
}

describe('the catalogue', () => {
  const known = Object.entries(catalogue.sentences)
  test('has every sentence of the server: what is missing is to be translated in src/said/zh', () => {
    expect(sentences.sentences.filter((s) => !Object.hasOwn(catalogue.sentences, s))).toEqual([])
    expect(sentences.nouns.filter((n) => !Object.hasOwn(catalogue.nouns, n))).toEqual([])
  })
  test('has none that the server does not say any more', () => {
    const said = new Set(sentences.sentences)
    expect(known.map(([s]) => s).filter((s) => !said.has(s) && !Object.hasOwn(system, s))).toEqual([])
    expect(Object.keys(system).filter((s) => said.has(s))).toEqual([])
    expect(Object.keys(catalogue.nouns).filter((n) => !sentences.nouns.includes(n))).toEqual([])
  })
  test('says all that differs from one time to the next, and nothing else', () => {
    const wrong = known.filter(([format, says]) => {
      if (says === null) return false
      const want = [...new Set([...format.matchAll(verb)].filter((m) => m[2] !== '%').map((m, i) => Number(m[1] ?? i + 1)))].sort()
      const have = [...new Set([...says.matchAll(/\{(\d+)\}/g)].map((m) => Number(m[1])))].sort()
      return want.join() !== have.join()
    })
    expect(wrong).toEqual([])
  })
  test('is in Chinese', () => {
    const technical = new Set(['kubeconfig %s', 'DiscoveryPolicy %s/%s', 'ServiceAccount %s', '%s ms'])
    expect(known.filter(([format, says]) => says !== null && !technical.has(format) && !/\p{Script=Han}/u.test(says))).toEqual([])
  })
  test('knows each sentence when it meets one', () => {
    const wrong = known.filter(([format, says]) => {
      if (says === null) return false
      const got = chinese(example(format))
      return got === undefined || (verbs(format) === 0 && got !== says)
    })
    expect(wrong.map(([format]) => [format, chinese(example(format))])).toEqual([])
  })
})

describe('sentences', () => {
  test.each([
    ['breaker.window: 90m0s is not between 1s and 1h0m0s', 'breaker.window：90m0s 不在 1s 到 1h0m0s 之间'],
    ['12.3 % of 40 calls failed in 10s, less than 10 % allowed', '10s 内 40 次调用中 12.3 % 失败，允许值须低于 10 %'],
    ['a call that tried it took 900ms, less than 500ms allowed', '一次试探调用耗时 900ms，允许值须低于 500ms'],
    ['it was open for 5s and is tried again', '已熔断 5s，开始试探'],
    ['by switch shop/stop, version 3 of admin: warehouse is down', '由 admin 的开关 shop/stop（版本 3）设置：warehouse is down'],
    ['shop/stop, version 3, was released', 'shop/stop（版本 3）已恢复'],
    ['policy shop/x is in version 4, written by mei; version 3 was expected; read it again and repeat the change', '策略 shop/x 当前为版本 4（由 mei 写入），预期为版本 3；请重新读取后再次修改'],
    ['none of the 3 instances of shop/orders can be called: 2 are not ready', undefined],
    ['cannot read policies now: dial tcp 127.0.0.1:5432: connect: connection refused; try again in a moment', '现在无法读取策略：dial tcp 127.0.0.1:5432：connect：连接被拒绝；请稍后重试'],
    ['clocks differ: 3 spans of orders, pricing and 2 other services were moved by up to 12 ms', '时钟不一致：orders、pricing 和另外 2 个服务的 3 个 Span 被移动，最多 12 ms'],
    ['body.target: nothing is known of application shop/x: no instance of it holds a stream, and no Service has its name; correct the name, or say allowUnknown (--allow-unknown) for an application to come',
      'body.target：没有应用 shop/x 的记录：没有它的实例连接，也没有同名的 Service；请更正名称；如果应用尚未上线，请使用 allowUnknown（--allow-unknown）'],
    ['it is the only route that takes the request', '它是唯一接受该请求的路由'],
    ['it goes before shop/storefront: its path /shop/stock/{sku} is more specific than /shop/{rest...}', '它优先于 shop/storefront：其路径 /shop/stock/{sku} 比 /shop/{rest...} 更具体'],
    ["shop/a goes before it: its priority is 5, the other's -1", 'shop/a 优先于它：其优先级为 5，对方为 -1'],
    ['its host is a.example.com or b.example.com, not ""', '其域名为 a.example.com or b.example.com，而不是 ""'],
    ["its path /x does not take the request's", '其路径 /x 不匹配该请求的路径'],
    ['it is disabled; its method is POST, not GET', '已停用；其请求方法为 POST，而不是 GET'],
    ['its host (any) is more specific than *.example.com', '其域名（任意）比 *.example.com 更具体'],
    ['expected required property app to be present', '缺少必填属性 app'],
  ])('%s', (english, want) => {
    if (want !== undefined) expect(chinese(english)).toBe(want)
    else expect(chinese(english)).toMatch(/\p{Script=Han}/u)
  })
  test('words of people stay theirs', () => {
    for (const text of ['warehouse is down and out', 'INC-2211', 'shop/inventory', 'GET /shop/cart/{id}', 'policy', 'delete', 'a, b']) expect(chinese(text)).toBeUndefined()
  })
  test('a text that nobody knows is given up on, however many parts it has', () => {
    expect(chinese('a thing of this and that: is, was; '.repeat(40))).toBeUndefined()
  })
})

test('what is wrong with YAML is said in Chinese', () => {
  const texts = ['a: 1\na: 2', 'a: [1', 'a: {b: 1', 'a:\n\tb: 1', 'a: "x', "a: 'x", 'a: b: c', 'a: 1\n b: 2', '- 1\nb: 2', 'a: @x', 'a: *x', 'a: "\\q"', 'a: {b:1, , c}', 'a\nb', 'a: &x &y 1', 'a: |x\n b', '%a', 'a: ]', 'a: !!foo 1', '- a\n b: 1']
  const left = texts.flatMap((text) => parseDocument(text, { prettyErrors: false }).errors.map((e) => e.message)).filter((m) => !/\p{Script=Han}/u.test(chinese(m) ?? ''))
  expect(left).toEqual([])
})

describe('on the page', () => {
  beforeEach(() => setLang('en'))
  const shown = (text: string) => {
    const at = document.createElement('div')
    render(<Said text={text} />, at)
    return at.innerHTML
  }
  test('English is as the server says it', () => {
    expect(say('it is disabled')).toBe('it is disabled')
    expect(shown('it is disabled')).toBe('it is disabled')
  })
  test('Chinese once the catalogue is there, and English marked as such for what it lacks', async () => {
    setLang('zh')
    await fetchCatalogue()
    await expect.poll(() => say('it is disabled')).toBe('已停用')
    expect(shown('it is disabled')).toBe('已停用')
    expect(shown('of a newer server this is')).toBe('<span lang="en">of a newer server this is</span>')
    expect(shown('pod-1')).toBe('pod-1')
  })
})
