import { describe, expect, test } from 'vitest'
import { present } from '~/charts/bands'
import { lonely, split } from '~/charts/gaps'
import { deedOf, moved } from '~/charts/keys'
import { grouped, kindOf } from '~/charts/marks'
import { timeTexts, top, zoomed } from '~/charts/scale'
import { summaries } from '~/charts/summary'
import type { Mark } from '~/charts/types'

describe('gaps', () => {
  test('a row without values stands where points are further apart than one and a half steps', () => {
    expect(split([10, 20, 35, 51, 90], [[1, 2, 3, 4, 5], [1, null, 3, 4, 5]], 10)).toEqual({
      times: [10, 20, 35, 45, 51, 61, 90],
      columns: [[1, 2, 3, null, 4, null, 5], [1, null, 3, null, 4, null, 5]],
    })
  })
  test('no points, no rows', () => expect(split([], [[]], 1)).toEqual({ times: [], columns: [[]] }))
  test('a point without neighbours is found', () => {
    expect(lonely([1, null, 2, 3, null, 4])).toEqual([0, 5])
    expect(lonely([7])).toEqual([0])
    expect(lonely([null, undefined])).toEqual([])
  })
})

describe('axes', () => {
  test('an axis ends above its highest value, and somewhere where there is none', () => {
    expect(top(100)).toBe(108)
    expect([top(0), top(null), top(undefined), top(Number.NaN)]).toEqual([1, 1, 1, 1])
  })
  test('zooming keeps the moment where it is', () => {
    expect(zoomed(0, 100, 50, 0.5, 1)).toEqual([25, 75])
    expect(zoomed(0, 100, 0, 0.5, 1)).toEqual([0, 50])
    expect(zoomed(0, 100, 50, 2, 1)).toEqual([-50, 150])
    expect(zoomed(0, 100, 50, 0.01, 20)).toEqual([40, 60])
  })
  test('the day is written where it changes', () => {
    const noon = new Date(2026, 0, 5, 12).getTime() / 1000
    expect(timeTexts([noon, noon + 6 * 3600, noon + 12 * 3600], { step: 6 * 3600, locale: 'en-GB' })).toEqual(['12:00', '18:00', '00:00\n6 Jan'])
    expect(timeTexts([noon], { step: 5, locale: 'en-GB' })).toEqual(['12:00:00'])
    expect(timeTexts([noon], { step: 86_400, locale: 'en-GB' })).toEqual(['5 Jan'])
  })
})

describe('marks', () => {
  const mark = (time: number, kind: Mark['kind']): Mark => ({ time, kind, label: kind })
  test('those close to each other are one, which shows what people did', () => {
    const all = grouped([mark(30, 'deploy'), mark(10, 'deploy'), mark(14, 'switch'), mark(99, 'event')], 0, 90, 5)
    expect(all.map((g) => [g.time, g.marks.length, kindOf(g)])).toEqual([[10, 2, 'switch'], [30, 1, 'deploy']])
  })
})

test('each state that can be seen is listed once', () => {
  const band = (from: number, to: number, state: string) => ({ from, to, state, label: state })
  expect(present([band(0, 10, 'open'), band(20, 30, 'open'), band(30, 40, 'halfOpen'), band(50, 60, 'forcedOpen')], 5, 50).map((b) => b.state)).toEqual(['open', 'halfOpen'])
})

test('what is said of a line', () => {
  expect(summaries([1, 2, 3, 4], [{ label: 'a', color: '--c1', values: [2, 5, 1, null] }, { label: 'b', color: '--c2', values: [null, null, null, null] }])).toEqual([
    { label: 'a', last: 1, least: 1, most: 5, mostAt: 2 },
    { label: 'b' },
  ])
})

describe('keys', () => {
  const press = (key: string, more = {}) => deedOf({ key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...more })
  test('have their deeds, and leave those of the browser alone', () => {
    expect(press('ArrowLeft')).toEqual({ move: -1 })
    expect(press('ArrowRight', { shiftKey: true })).toEqual({ move: 10 })
    expect(press('+')).toEqual({ zoom: 0.5 })
    expect(press('-')).toEqual({ zoom: 2 })
    expect(press('-', { ctrlKey: true })).toBeUndefined()
    expect(press('x')).toBeUndefined()
  })
  test('moving passes over rows without values and stays at the ends', () => {
    const has = (i: number) => i !== 2
    expect(moved(1, 1, 5, has)).toBe(3)
    expect(moved(undefined, -1, 5, has)).toBe(4)
    expect(moved(4, 1, 5, has)).toBe(4)
    expect(moved(0, 10, 5, has)).toBe(4)
    expect(moved(undefined, 1, 0, has)).toBeUndefined()
  })
})
