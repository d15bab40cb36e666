import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import type { Attention } from './attention'
import { grouped, nameOf, sayGroup, sinceOf } from './groups'

const item = (kind: string, params: Record<string, string> = {}, severity = 'warning', more: Partial<Attention> = {}): Attention => ({ kind, severity, params, text: `${kind} ${JSON.stringify(params)}`, link: '/x', ...more })
const route = (name: string, why = 'no registry', severity = 'critical') => item('route.quarantined', { route: name, gateways: '1', of: '1', why }, severity)
const routesOf = (items: readonly Attention[]) => items.map((a) => a.params.route)

beforeEach(() => setLang('en'))

describe('groups of what needs a person', () => {
  test('many of one kind and one cause are one, with the cause once', () => {
    const groups = grouped(['a', 'b', 'c', 'd'].map((r) => route(r)))
    expect(groups.length).toBe(1)
    expect(groups[0]).toMatchObject({ why: 'no registry', mixed: false })
    expect(routesOf(groups[0]!.items)).toEqual(['a', 'b', 'c', 'd'])
    expect(sayGroup(groups[0]!)).toBe('Gateways cannot serve 4 routes as written')
  })
  test('two are told one by one', () => {
    expect(grouped([route('a'), route('b')]).map((g) => g.items.length)).toEqual([1, 1])
  })
  test('another severity, or another cause of many, is another group', () => {
    const all = ['a', 'b', 'c'].flatMap((r) => [route(r), route(r, 'no registry', 'warning'), route(r, 'no Dubbo')])
    expect(grouped(all).map((g) => [g.items[0]!.severity, g.why, g.items.length])).toEqual([
      ['critical', 'no registry', 3],
      ['critical', 'no Dubbo', 3],
      ['warning', 'no registry', 3],
    ])
  })
  test('those whose causes are few each are one of different causes', () => {
    const groups = grouped([route('a', '1'), route('b', '2'), route('c', '3'), ...['d', 'e', 'f'].map((r) => route(r))])
    expect(groups.map((g) => [g.mixed, g.why, routesOf(g.items)])).toEqual([
      [true, undefined, ['a', 'b', 'c']],
      [false, 'no registry', ['d', 'e', 'f']],
    ])
  })
  test('the worst first, each group where its first thing stands', () => {
    const apps = ['x/1', 'x/2', 'x/3'].map((app) => item('app.errors', { app, percent: '9', calls: '100' }))
    expect(grouped([...apps, item('gateway.none', {}, 'critical'), item('switch.expiring', { switch: 's' }, 'info')]).map((g) => g.items[0]!.kind)).toEqual(['gateway.none', 'app.errors', 'switch.expiring'])
  })
  test('held open is not held closed', () => {
    const held = (state: string, n: number) => Array.from({ length: n }, (_, i) => item('circuit.forced', { state, app: `a/${i}`, command: 'c' }))
    expect(grouped([...held('forcedOpen', 3), ...held('forcedClosed', 3)]).map(sayGroup)).toEqual(['3 circuits are held open', '3 circuits are held closed'])
  })
  test('a kind that the page does not know stays as the server says it', () => {
    expect(grouped(['1', '2', '3'].map((a) => item('some.thing', { a }))).length).toBe(3)
  })
  test('applications are counted once, however many things they have', () => {
    const refusing = ['p', 'q', 'r'].map((policy) => item('instance.refusing', { app: 'a/b', instances: '1', policy, why: policy }))
    expect(sayGroup(grouped(refusing)[0]!)).toBe('Instances of 1 application refuse policies')
    expect(nameOf(refusing[0]!)).toBe('a/b (p)')
  })
  test('names tell one thing from the other', () => {
    expect(nameOf(item('app.errors', { app: 'a/b', percent: '34.1' }))).toBe('a/b 34.1 %')
    expect(nameOf(item('circuit.open', { app: 'a/b', peer: 'c/d', command: 'run' }))).toBe('a/b → c/d run')
    expect(nameOf(item('circuit.open', { route: 'shop/cart', app: 'a/b', command: 'run' }))).toBe('shop/cart')
    expect(nameOf(item('gateway.behind', { gateway: 'g-1' }))).toBe('g-1')
    expect(nameOf(item('gateway.none', {}, 'critical', { text: 'none' }))).toBe('none')
  })
  test('a group lasts since its first thing began', () => {
    const at = (since?: string) => ({ ...route('a'), since })
    expect(sinceOf({ key: '', mixed: false, items: [at('2026-01-01T02:00:00Z'), at(), at('2026-01-01T01:00:00.5Z')] })).toBe('2026-01-01T01:00:00.5Z')
    expect(sinceOf({ key: '', mixed: false, items: [at()] })).toBeUndefined()
  })
})
