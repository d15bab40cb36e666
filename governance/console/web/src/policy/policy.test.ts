import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { arranged, countdown, namesOf, pollEvery, standing } from '~/policy/confirm'
import { emptyForm, formPlaces, fromDocument, fromLocalTime, json, localTime, noFallback, placeErrors, toDocument } from '~/policy/form'
import { duration, parts, shortCommand, tidy, type InstanceStatus, type Policy } from '~/policy/model'
import { rules, sentence, where } from '~/policy/sentence'
import { read, write } from '~/policy/yaml'

beforeEach(() => setLang('en'))

const full: Policy = {
  name: 'inventory.reserve',
  target: { app: 'shop/inventory', command: 'InventoryService.reserve', at: 'caller', from: ['shop/orders'] },
  breaker: { mode: 'auto', window: '10s', minCalls: 20, errorPercent: 50, slowCall: '500ms', slowPercent: 80, openFor: '5s', probes: 3 },
  timeout: '800ms',
  bulkhead: { concurrent: 64 },
  fallback: { cached: { maxAge: '5m' }, else: { value: { reserved: false } } },
  expires: '2026-11-29T10:00:00Z',
}

describe('form and document', () => {
  test('all fields go both ways', () => {
    expect(toDocument(fromDocument(full))).toEqual({ doc: full, trouble: {} })
  })
  test('a document as the server keeps it reads the same', () => {
    const kept = { ...full, kind: 'policy', namespace: 'shop', fallback: { cached: { maxAge: '5m0s' }, else: { value: { reserved: false } } } }
    expect(toDocument(fromDocument(kept)).doc).toEqual(full)
  })
  test('what is empty is left out', () => {
    expect(toDocument({ ...emptyForm, app: ' shop/a ', from: ['shop/b'] }).doc).toEqual({ target: { app: 'shop/a' } })
  })
  test.each([
    [{ window: '5' }, 'breaker.window', 'duration'],
    [{ errorPercent: 'half' }, 'breaker.errorPercent', 'number'],
    [{ fallback: { ...noFallback, kind: 'value' as const, value: '{a}' } }, 'fallback.value', 'json'],
    [{ fallback: { ...noFallback, kind: 'cached' as const, maxAge: '5m', else: { ...noFallback, kind: 'value' as const, value: '12345678901234567890' } } }, 'fallback.else.value', 'digits'],
    [{ expires: 'soon' }, 'expires', 'time'],
  ])('%j is wrong at %s', (patch, place, what) => {
    expect(toDocument({ ...emptyForm, app: 'shop/a', ...patch }).trouble).toEqual({ [place]: what })
  })
  test('a fallback of null, zero or text is one', () => {
    for (const text of ['null', '0', '""', 'false']) {
      const made = toDocument({ ...emptyForm, fallback: { ...noFallback, kind: 'value', value: text } })
      expect(made.doc.fallback).toEqual({ value: JSON.parse(text) as unknown })
      expect(fromDocument(made.doc).fallback.value).toBe(text)
    }
  })
  test('digits are lost only beyond what is kept', () => {
    expect(json('[9007199254740991, 1.5, 1e3]')).toEqual({ value: [9007199254740991, 1.5, 1000] })
    expect(json('{"a":[9007199254740993]}')).toEqual({ trouble: 'digits' })
  })
  test('errors of the server find their field, or the nearest around it, or stand on top with their place', () => {
    expect(
      placeErrors(
        [
          { location: 'body.breaker.window', message: '1ms is not between 1s and 5m0s' },
          { location: 'body.target.from[0]', message: 'no application' },
          { location: 'body.breaker.foo', message: 'unexpected property' },
          { location: 'body', message: 'the policy says nothing' },
        ],
        formPlaces,
      ),
    ).toEqual({ 'breaker.window': '1ms is not between 1s and 5m0s', target: 'no application', '': 'breaker.foo: unexpected property; the policy says nothing' })
  })
  test('a time of the editor is the same moment', () => {
    expect(fromLocalTime(localTime('2026-11-29T10:00:00Z'))).toBe('2026-11-29T10:00:00Z')
    expect(localTime('never')).toBe('')
  })
})

describe('YAML', () => {
  const words = { mapping: 'no mapping', digits: 'digits' }
  test('what is written is read', () => {
    expect(read(write(full), words).doc).toEqual(full)
    expect(write({ ...full, kind: 'policy', namespace: 'shop' })).toBe(write(full))
    expect(write({ target: { app: 'a/b', at: 'provider' } })).toBe('target:\n  app: a/b\n')
  })
  test('fields stand in their order', () => {
    expect(Object.keys(tidy({ expires: 'x', timeout: '1m0s', target: { command: 'c', app: 'a/b' } } as Policy))).toEqual(['target', 'timeout', 'expires'])
    expect(write({ timeout: '1m0s', target: { command: 'c', app: 'a/b' } })).toBe('target:\n  app: a/b\n  command: c\ntimeout: 1m\n')
  })
  test('an error names its line', () => {
    expect(read('target: {app: a/b}\nbreaker: {window: 10s\ntimeout: 1s\n', words).wrong[0]?.line).toBeGreaterThan(1)
    expect(read('target:\n\tapp: a/b\n', words).wrong[0]?.line).toBe(2)
    expect(read('- a\n', words).wrong).toEqual([{ line: 1, column: 1, message: 'no mapping' }])
    expect(read('fallback:\n  value: 12345678901234567890\n', words).wrong[0]?.message).toBe('digits')
  })
  test('a place is found on its line, or what is around it', () => {
    const r = read('target:\n  app: a/b\nbreaker:\n  window: 1ms\n', words)
    expect([r.lineOf('breaker.window'), r.lineOf('breaker.probes'), r.lineOf('timeout')]).toEqual([4, 4, undefined])
  })
})

describe('words', () => {
  test('the document of the guide', () => {
    expect(sentence(full)).toBe('opens at 50 % errors, opens at 80 % slower than 500 ms, counted over 10 s, from 20 calls, stays open 5 s, 3 probes to close, timeout 800 ms, 64 at once, answers the last good answer, 5 min old at most; else answers {"reserved":false}')
    expect(where(full.target)).toBe('in shop/orders, which calls it')
    setLang('zh')
    expect(where(full.target)).toBe('在调用方 shop/orders 上执行')
    expect(rules(full)[0]).toBe('错误率达到 50 % 时熔断')
  })
  test('a switch refuses', () => {
    expect(sentence({ breaker: { mode: 'forcedOpen' }, fallback: { error: 'closed' } })).toBe('refuses every call, answers the error “closed”')
    expect(sentence({})).toBe('says nothing yet')
    expect(sentence({ breaker: { mode: 'auto' } })).toBe('opens by what it counts')
  })
  test('names', () => {
    expect(shortCommand('org.example.shop.InventoryService.reserve')).toBe('InventoryService.reserve')
    expect(shortCommand('GET /a.b.c')).toBe('GET /a.b.c')
    expect(parts('shop/a.b')).toEqual({ namespace: 'shop', name: 'a.b' })
    expect([duration('5m0s'), duration('1h0m0s'), duration('800ms'), duration('x')]).toEqual(['5m', '1h', '800ms', 'x'])
  })
})

describe('confirmations', () => {
  const one = (instance: string, state: InstanceStatus['state'], name?: string): InstanceStatus => ({ app: 'shop/a', instance, name, state, wanted: 2, applied: 1 })
  test('who stands in the way comes first', () => {
    expect(arranged([one('c', 'confirmed'), one('b10', 'pending'), one('b9', 'pending'), one('a', 'refused')]).map((i) => i.instance)).toEqual(['a', 'b9', 'b10', 'c'])
  })
  test('in one word', () => {
    expect(standing({ live: 0, confirmed: 0, pending: 0, refused: 0 })).toBe('nobody')
    expect(standing({ live: 3, confirmed: 1, pending: 1, refused: 1 })).toBe('refused')
    expect(standing({ live: 2, confirmed: 1, pending: 1, refused: 0 })).toBe('waiting')
    expect(standing({ live: 2, confirmed: 2, pending: 0, refused: 0 })).toBe('all')
  })
  test('instances of one name are told apart', () => {
    const list = [one('11112222-3333', 'confirmed', 'vm'), one('44445555-6666', 'confirmed', 'vm'), one('777', 'confirmed', 'pod-x')]
    expect(list.map(namesOf(list))).toEqual(['vm (11112222)', 'vm (44445555)', 'pod-x'])
  })
  test('they are asked about until all said something', () => {
    const c = { version: 1, live: 2, confirmed: 1, pending: 1, refused: 0, instances: [] }
    expect(pollEvery(undefined, 0, 1)).toBe(300)
    expect(pollEvery(c, 0, 29_000)).toBe(300)
    expect(pollEvery(c, 0, 31_000)).toBe(5_000)
    expect(pollEvery({ ...c, confirmed: 1, refused: 1, pending: 0 }, 0, 1)).toBe(false)
    expect(pollEvery({ ...c, live: 0, confirmed: 0, pending: 0 }, 0, 31_000)).toBe(5_000)
  })
  test('the time that is left', () => {
    expect(countdown(undefined, 0)).toBeUndefined()
    expect(countdown('1970-01-01T00:10:00Z', 0)).toEqual({ left: 600, over: false, soon: false })
    expect(countdown('1970-01-01T00:05:00Z', 500)).toEqual({ left: 300, over: false, soon: true })
    expect(countdown('1970-01-01T00:05:00Z', 300_000)).toEqual({ left: 0, over: true, soon: false })
  })
})
