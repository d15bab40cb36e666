import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import * as format from '~/i18n/format'
import { bySeverity, sayAttention, severityWord, type Attention } from './attention'
import { words } from './words'

const item = (kind: string, params: Record<string, string> = {}, severity = 'warning'): Attention => ({ kind, severity, params, text: 'the server says', link: '/x' })

beforeEach(() => setLang('en'))

describe('what needs a person', () => {
  test('the worst first, in the order of the server among equals', () => {
    const all = [item('a', {}, 'info'), item('b', {}, 'critical'), item('c', {}, 'new'), item('d', {}, 'warning'), item('e', {}, 'critical')]
    expect(bySeverity(all).map((a) => a.kind)).toEqual(['b', 'e', 'd', 'a', 'c'])
  })
  test('is said in the words of the page', () => {
    const open = { app: 'shop/orders', command: 'reserve', at: 'caller', instances: '2', of: '3' }
    expect(sayAttention(item('circuit.open', open))).toBe('Circuit reserve of shop/orders is open in 2 of 3 instances.')
    expect(sayAttention(item('circuit.open', { ...open, peer: 'shop/inventory', of: '1', instances: '1' }))).toBe('Circuit reserve from shop/orders to shop/inventory is open in 1 of 1 instance.')
    expect(sayAttention(item('circuit.open', { ...open, peer: 'shop/inventory', route: 'shop/cart' }))).toBe('The circuit of route shop/cart is open in 2 of 3 gateways.')
    expect(sayAttention(item('circuit.forced', { ...open, state: 'forcedClosed' }))).toContain('is held closed')
    setLang('zh')
    expect(sayAttention(item('app.errors', { app: 'shop/a', percent: '31.5', calls: '200' }))).toBe('shop/a 最近 200 次调用中有 31.5 % 失败。')
  })
  test('times are local', () => {
    const at = '2026-01-01T03:04:05Z'
    expect(sayAttention(item('switch.expiring', { switch: 'shop/x', at }))).toBe(`Switch shop/x releases by itself at ${format.time(at)}.`)
  })
  test('or in those of the server, for a new kind and where a parameter is missing', () => {
    expect(sayAttention(item('some.thing'))).toBe('the server says')
    expect(sayAttention(item('app.errors', { app: 'shop/a' }))).toBe('the server says')
    expect(severityWord('dire')).toBe('dire')
  })
  test.each([
    ['instance.held', { app: 'a/b', held: '1', of: '2', why: 'draining' }],
    ['instance.kept', { app: 'a/b', kept: '2', of: '3' }],
    ['instance.behind', { app: 'a/b', instances: '1' }],
    ['instance.refusing', { app: 'a/b', instances: '2', policy: '', why: 'no' }],
    ['instance.refusing', { app: 'a/b', instances: '2', policy: 'a/p', why: 'no' }],
    ['route.quarantined', { route: 'a/r', gateways: '1', of: '2', why: 'x' }],
    ['gateway.none', {}],
    ['system.queue', { queue: 'q', role: 'control', node: 'n', depth: '9' }],
    ['system.queue', { queue: 'q', role: 'control', node: '', depth: '9', limit: '10', percent: '90' }],
    ['system.partition', { table: 't', rows: '9' }],
    ['system.registry', {}],
    ['system.node', { role: 'control', node: 'n', note: 'x' }],
  ] as [string, Record<string, string>][])('%s with %j has words', (kind, params) => {
    for (const l of ['en', 'zh'] as const) {
      setLang(l)
      expect(sayAttention(item(kind, params))).not.toBe('the server says')
    }
  })
  test('both languages speak of the same parameters', () => {
    const of = (text: string) => [...new Set(text.match(/(?<=\{)\w+/g) ?? [])].sort()
    const keys = ['a.circuit.open', 'a.circuit.held.open.peer', 'a.instance.held', 'a.instance.refusing', 'a.system.queue', 'a.route.quarantined'] as const
    for (const key of keys) {
      setLang('en')
      const en = of(words(key))
      setLang('zh')
      expect(of(words(key))).toEqual(en)
    }
  })
})
