import { describe, expect, test } from 'vitest'
import { barOf, barsOf, formatPart, labelAt, panned, parsePart, percent, ticks, within, zoomed } from './time'

describe('a part of the axis', () => {
  test('stays inside of the whole, and is not too small', () => {
    expect(within({ from: -50, to: 50 }, 1000)).toEqual({ from: 0, to: 100 })
    expect(within({ from: 950, to: 1050 }, 1000)).toEqual({ from: 900, to: 1000 })
    expect(within({ from: 500, to: 500 }, 1000)).toEqual({ from: 500, to: 510 })
    expect(within({ from: -9, to: 9999 }, 1000)).toEqual({ from: 0, to: 1000 })
    expect(within({ from: 0, to: 0 }, 4)).toEqual({ from: 0, to: 4 })
  })
  test('is zoomed around a moment and moved', () => {
    expect(zoomed({ from: 0, to: 1000 }, 1000, 0.5)).toEqual({ from: 250, to: 750 })
    expect(zoomed({ from: 0, to: 1000 }, 1000, 0.5, 0)).toEqual({ from: 0, to: 500 })
    expect(zoomed({ from: 250, to: 750 }, 1000, 4)).toEqual({ from: 0, to: 1000 })
    expect(panned({ from: 0, to: 100 }, 1000, 0.5)).toEqual({ from: 50, to: 150 })
  })
  test('stands in the address', () => {
    expect(parsePart('100-200', 1000)).toEqual({ from: 100, to: 200 })
    for (const bad of [undefined, '', 'x', '200-100', '-5-9']) expect(parsePart(bad, 1000)).toEqual({ from: 0, to: 1000 })
    expect(formatPart({ from: 99.6, to: 200.2 }, 1000)).toBe('100-200')
    expect(formatPart({ from: 0, to: 1000 }, 1000)).toBeUndefined()
  })
})

test.each([
  [{ from: 0, to: 1000 }, [0, 200, 400, 600, 800, 1000]],
  [{ from: 130, to: 230 }, [140, 160, 180, 200, 220]],
  [{ from: 0, to: 3 }, [0, 1, 2, 3]],
  [{ from: 5, to: 5 }, [5]],
])('ticks of %j are %j', (part, want) => expect(ticks(part, 5)).toEqual(want))

describe('bars', () => {
  const part = { from: 100, to: 200 }
  test('stand where their time is', () => {
    expect(barOf(120, 150, part)).toEqual({ left: 20, width: 30 })
    expect(barOf(0, 99, part)).toBeUndefined()
    expect(barOf(201, 300, part)).toBeUndefined()
  })
  test('that reach far out stay small', () => {
    expect(barOf(-1e12, 1e12, part)).toEqual({ left: -1, width: 102 })
    expect(percent(5, { from: 5, to: 5 })).toBe(0)
  })
  test('that cannot be told apart are one', () => {
    expect(barsOf([[100, 110], [110, 120], [150, 160], [300, 310]], part)).toEqual([{ left: 0, width: 20 }, { left: 50, width: 10 }])
    const many = Array.from({ length: 10_000 }, (_, i) => [i * 10, i * 10 + 5])
    expect(barsOf(many, { from: 0, to: 100_000 }).length).toBe(1)
  })
  test('have their text where there is room', () => {
    expect(labelAt({ left: 0, width: 20 })).toBe('after')
    expect(labelAt({ left: 60, width: 40 })).toBe('before')
    expect(labelAt({ left: 0, width: 100 })).toBe('on')
  })
})
