import { describe, expect, test } from 'vitest'
import type { AppHealth } from '~/live/store'
import { callsCondition, calm, conditionOf, conditions, rankOf } from './condition'

const app = (more: Partial<AppHealth>): AppHealth => ({
  app: 'shop/a', side: 'provider', live: 2, behind: 0, refusing: 0, rate: 10, errorPercent: 0, refusedPercent: 0, slowPercent: 0,
  inFlight: 0, commands: 1, open: 0, forced: 0, ...more,
})

describe('an application', () => {
  test.each([
    [{}, 'ok'],
    [{ errorPercent: 4.9 }, 'ok'],
    [{ errorPercent: 5 }, 'errors'],
    [{ errorPercent: 25 }, 'failing'],
    [{ errorPercent: 66, rate: 0.05 }, 'errors'], // 2 of 3 calls
    [{ slowPercent: 20 }, 'slow'],
    [{ slowPercent: 20, rate: 0.1 }, 'ok'],
    [{ open: 1, errorPercent: 50 }, 'open'],
    [{ forced: 1 }, 'forced'],
    [{ forced: 1, slowPercent: 40 }, 'slow'],
    [{ refusing: 1, errorPercent: 6 }, 'refusing'],
    [{ behind: 1 }, 'behind'],
    [{ rate: 0 }, 'idle'],
    [{ rate: 0, live: 0 }, 'gone'],
    [{ rate: 0, live: 0, side: 'unseen' }, 'unseen'],
    [{ live: 0 }, 'ok'], // known by its calls alone
  ] as const)('%j is %s', (more, want) => expect(conditionOf(app(more))).toBe(want))
  test('a longer range has more calls', () => {
    expect(conditionOf(app({ errorPercent: 66, rate: 0.05 }), 900)).toBe('failing')
  })
})

describe('calls', () => {
  const edge = { calls: 100, errorPercent: 0, slowPercent: 0, states: { closed: 3 } }
  test.each([
    [{}, 'ok'],
    [{ calls: 0 }, 'idle'],
    [{ states: { open: 1, closed: 2 } }, 'open'],
    [{ states: { halfOpen: 1 } }, 'halfOpen'],
    [{ states: { forcedOpen: 3 }, calls: 0 }, 'forced'],
    [{ errorPercent: 30, states: { forcedOpen: 1 } }, 'failing'],
    [{ errorPercent: 6 }, 'errors'],
  ] as const)('%j are %s', (more, want) => expect(callsCondition({ ...edge, ...more } as typeof edge)).toBe(want))
})

test('conditions are ordered, and few are calm', () => {
  expect(rankOf('open')).toBeLessThan(rankOf('errors'))
  expect(conditions.filter(calm)).toEqual(['ok', 'idle', 'unseen', 'gone'])
})
