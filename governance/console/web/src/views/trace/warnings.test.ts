import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { cwd } from 'node:process'
import { afterEach, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { told } from './warnings'

afterEach(() => setLang('en'))

test('warnings are sentences in English', () => {
  setLang('en')
  expect(told('no span has a time')).toBe('No span has a time.')
})

test('one that is not known is shown as it came', () => {
  setLang('zh')
  expect(told('the moon is full')).toBe('the moon is full')
})

test('names within are kept', () => {
  setLang('zh')
  expect(told('clocks differ: 4 spans of orders, stock and 2 other services were moved by up to 1.5 ms')).toBe('时钟有偏差：orders、stock、另外 2 个服务 的 4 个 Span 已修正，最多 1.5 ms。')
})

// The sentences are the server's: this reads them where it says them.
test('every warning of the server is known in Chinese', () => {
  setLang('zh')
  const read = (path: string) => readFileSync(join(cwd(), '../../..', path), 'utf8')
  const said = [
    ...[...read('tracing/warnings.go').matchAll(/tell\("([^"]+)"/g)].map((m) => m[1]!),
    ...[...read('tracing/query/viewrow.go').matchAll(/Warnings, fmt\.Sprintf\("([^"]+)"/g)].map((m) => m[1]!),
    ...[...read('tracing/postgres/read.go').matchAll(/out\.Cut = "([^"]+)"/g)].map((m) => m[1]!),
  ]
  expect(said.length).toBeGreaterThan(15)
  for (const sentence of said) {
    const filled = sentence.replace(/%d/g, '3').replace(/%s/g, (_, at: number) => {
      const [before, after] = [sentence.slice(0, at), sentence.slice(at + 2)]
      if (/(by|up to|begins) $/.test(before)) return '2 ms'
      return / of $/.test(before) || after === '' ? 'orders and stock' : '3 spans'
    })
    expect(told(filled)).not.toBe(filled)
  }
})
