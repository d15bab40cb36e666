import { beforeEach, describe, expect, test } from 'vitest'
import { dictionary, fill, lang, setLang } from '~/i18n'
import * as format from '~/i18n/format'

beforeEach(() => setLang('en'))

describe('texts', () => {
  test('parameters and plural forms are filled in', () => {
    expect(fill('{n} {n|instance|instances} of {app}', { n: 1, app: 'shop/orders' })).toBe('1 instance of shop/orders')
    expect(fill('{n} {n|instance|instances}', { n: 1234 })).toBe('1,234 instances')
    expect(fill('{n|一|多}', { n: 2 })).toBe('多')
  })
  test('a parameter that is missing stays to be seen', () => {
    expect(fill('{a} and {b}', { a: 'x' })).toBe('x and {b}')
  })
  test('the language changes what is said', () => {
    const t = dictionary({ en: { hello: 'Hello {name}' }, zh: { hello: '你好 {name}' } })
    expect(t('hello', { name: 'A' })).toBe('Hello A')
    setLang('zh')
    expect(lang.value).toBe('zh')
    expect(t('hello', { name: 'A' })).toBe('你好 A')
    expect(document.documentElement.lang).toBe('zh-CN')
    expect(t.has('hello')).toBe(true)
    expect(t.has('toString')).toBe(false)
  })
})

describe('figures', () => {
  test.each([
    [undefined, '–'], [0, '0/s'], [0.004, '<0.01/s'], [12.345, '12.3/s'], [1234, '1,234/s'], [12_345, '12.3k/s'],
  ])('rate %s is %s', (v, want) => expect(format.rate(v)).toBe(want))
  test.each([
    [0, '0 %'], [0.004, '<0.01 %'], [0.3, '0.3 %'], [99.96, '100 %'], [100, '100 %'],
  ])('percent %s is %s', (v, want) => expect(format.percent(v)).toBe(want))
  test.each([
    [0.84, '840 µs'], [12.34, '12.3 ms'], [999, '999 ms'], [1234, '1.23 s'], [90_000, '1 min 30 s'], [null, '–'], [Number.NaN, '–'],
  ])('latency %s is %s', (v, want) => expect(format.ms(v)).toBe(want))
  test.each([
    [0, '0 s'], [59.6, '1 min'], [3600, '1 h'], [3661, '1 h 1 min'], [90_061, '1 d 1 h'], [86_405, '1 d'],
  ])('span of %s s is %s', (v, want) => expect(format.span(v)).toBe(want))
  test('ago and ahead', () => {
    expect(format.ago(0, 500)).toBe('just now')
    expect(format.ago(0, 125_000)).toBe('2 min ago')
    expect(format.ago(10_000, 0)).toBe('in 10 s')
    setLang('zh')
    expect(format.ago(0, 125_000)).toBe('2 分前')
  })
  test('durations of the APIs are read and written', () => {
    expect(format.goDuration('1m30s')).toBe(90_000)
    expect(format.goDuration('1.5ms')).toBe(1.5)
    expect(format.goDuration('250µs')).toBe(0.25)
    expect(format.goDuration('-2s')).toBe(-2000)
    expect(format.goDuration('0')).toBe(0)
    for (const bad of ['', 'x', '5', '5 s', '1h!']) expect(format.goDuration(bad)).toBeNaN()
    for (const v of [800, 5000, 90_000, 120_000, 7_200_000]) expect(format.goDuration(format.toGoDuration(v))).toBe(v)
  })
  test('bytes', () => {
    expect(format.bytes(512)).toBe('512 B')
    expect(format.bytes(3 * 1024 * 1024)).toBe('3 MiB')
  })
})
