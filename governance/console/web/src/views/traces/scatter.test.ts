import { describe, expect, test } from 'vitest'
import { kindOf, linear, logarithmic, nearest, points, round125, timeTicks } from './scatter'

test.each([[0.3, 0.5], [1, 1], [1.1, 2], [3, 5], [7, 10], [4200, 5000], [0, 1], [Number.NaN, 1]])('%s is rounded to %s', (v, want) => expect(round125(v)).toBeCloseTo(want))

describe('a linear scale', () => {
  test('begins at nothing and holds all', () => {
    const s = linear(4200)
    expect(s.ticks).toEqual([0, 2000, 4000, 6000])
    expect(s.at(0)).toBe(0)
    expect(s.at(3000)).toBe(0.5)
    expect(s.at(4200)).toBeLessThanOrEqual(1)
  })
  test('of nothing is still one', () => expect(linear(0).ticks.length).toBeGreaterThan(1))
})

describe('a logarithmic scale', () => {
  test('goes by powers of ten', () => {
    const s = logarithmic(900, 45_000)
    expect(s.ticks).toEqual([100, 1000, 10_000, 100_000])
    expect(s.at(100)).toBe(0)
    expect(s.at(100_000)).toBe(1)
    expect(s.at(1000)).toBeCloseTo(1 / 3)
  })
  test('puts what has no duration at its foot', () => expect(logarithmic(0, 0).at(0)).toBe(0))
  test('of one value has two ends', () => expect(logarithmic(1000, 1000).ticks).toEqual([1000, 10_000]))
})

describe('moments of the day', () => {
  test('are round', () => {
    expect(timeTicks(3601, 7205)).toEqual([4500, 5400, 6300, 7200])
    for (const seconds of [3, 60, 900, 3600, 86_400, 604_800, 5e7]) {
      const ticks = timeTicks(1e9, 1e9 + seconds)
      expect(ticks.length).toBeGreaterThan(0)
      expect(ticks.length).toBeLessThanOrEqual(7)
    }
  })
  test('are those of the local clock', () => expect(timeTicks(0, 86_400 * 3, 6, 8 * 3600)[0]).toBe(4 * 3600))
})

test('traces stand by time and duration, and say by shape what was wrong', () => {
  const p = points(
    [
      { start: 1.5e6, duration: 50, errors: 0, refused: 0 },
      { start: 9e6, duration: 100, errors: 1, refused: 1 },
    ],
    { from: 1, to: 2 },
    linear(100, 2),
  )
  expect(p).toEqual([
    { x: 0.5, y: 0.5, kind: 'ok' },
    { x: 1, y: 1, kind: 'error' },
  ])
  expect(kindOf({ errors: 0, refused: 2 })).toBe('refused')
})

test('the point next to the pointer is found, if there is one near', () => {
  const places = [{ x: 0, y: 0 }, { x: 10, y: 0 }, { x: 100, y: 100 }]
  expect(nearest(places, 8, 2)).toBe(1)
  expect(nearest(places, 60, 60)).toBe(-1)
  expect(nearest([], 0, 0)).toBe(-1)
})
