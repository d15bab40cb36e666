import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { conditionLook, conditionOf } from '~/ui/condition'
import type { AppHealth, LiveEvent, Second } from '~/live/store'
import { bands, fromPoints, fromTransitions, ofSeries } from './bands'
import { bundled, concerns, isSwitch, marksOf, momentOf, shortCommand } from './marks'
import { odd } from './odd'
import { errorPercent, joined, pastPoints, peak, presentOutcomes, quiet, refusedPercent, stepOf, wantedStep, type Point } from './series'
import { newer } from './health'
import { namesOf } from './names'
import { badness, reasons, troubled } from './standing'

beforeEach(() => setLang('en'))

const point = (time: number, more: Partial<Point> = {}): Point => ({ time, step: 1, counts: { success: 1 }, inFlight: 1, instances: 2, ...more })
const second = (s: number, success = 9): Second => ({ second: s, command: 'c', at: 'provider', counts: { success }, inFlight: 0, instances: 1, p50Ms: 2, states: {} })
const live = (...seconds: Second[]) => new Map(seconds.map((s) => [s.second, s]))

describe('the past and the live seconds', () => {
  test('the answer of the history is read', () => {
    const points = pastPoints({ step: '10s', points: [{ time: '2026-01-01T00:00:10Z', counts: { success: 3 }, inFlight: 1, instances: 2, latency: { p50: '1.5ms', p90: '2ms', p99: '1s', max: '1m0s' } }] })
    expect(points).toMatchObject([{ time: 1767225610, step: 10, p50: 1.5, p90: 2, p99: 1000, max: 60_000 }])
    expect(stepOf({ step: '1m0s', points: null })).toBe(60)
    expect(pastPoints(undefined)).toEqual([])
  })
  test('a live second stands for the point of the same second, and those behind follow', () => {
    const all = joined([point(10), point(11)], live(second(12), second(11)), 0, 100)
    expect(all.map((p) => [p.time, p.counts.success])).toEqual([[10, 1], [11, 9], [12, 9]])
    expect(all[1]?.p50).toBe(2)
  })
  test('seconds follow behind coarser points, never into them', () => {
    const all = joined([point(0, { step: 10 }), point(10, { step: 10 })], live(second(15), second(19), second(20), second(21)), 0, 100)
    expect(all.map((p) => p.time)).toEqual([0, 10, 20, 21])
  })
  test('what is not over is left out, and what was before the range', () => {
    expect(joined([point(8), point(99)], live(second(99), second(7)), 9, 99.5).map((p) => p.time)).toEqual([])
    expect(joined([point(90, { step: 10 }), point(100, { step: 10 })], live(), 0, 105).map((p) => p.time)).toEqual([90])
  })
  test('short quiet times are no calls, long ones are gaps', () => {
    expect(quiet([point(1), point(4), point(20)]).map((p) => [p.time, p.counts.success ?? 0])).toEqual([[1, 1], [2, 0], [3, 0], [4, 1], [20, 1]])
    expect(quiet([point(0, { step: 10 }), point(12)]).map((p) => p.time)).toEqual([0, 10, 11, 12])
    expect(quiet([])).toEqual([])
  })
})

describe('figures of points', () => {
  test('percentages are null where there is nothing to divide by', () => {
    expect(errorPercent({ success: 6, failure: 3, timeout: 1, shortCircuited: 90 })).toBe(40)
    expect(errorPercent({ shortCircuited: 5 })).toBeNull()
    expect(refusedPercent({ success: 1, rejected: 1, shortCircuited: 1, switched: 1 })).toBe(75)
    expect(refusedPercent({})).toBeNull()
  })
  test('outcomes that happened', () => {
    expect(presentOutcomes([])).toEqual(['success', 'failure'])
    expect(presentOutcomes([point(1, { counts: { switched: 1, fallbackFailure: 1 } })])).toEqual(['success', 'failure', 'switched', 'fallback'])
  })
  test('a peak is the highest above nothing', () => {
    const points = [point(1, { max: 2 }), point(2, { max: 5 }), point(3)]
    expect(peak(points, (p) => p.max)?.point.time).toBe(2)
    expect(peak(points, (p) => errorPercent(p.counts))).toBeUndefined()
  })
  test('seconds for what is called often enough', () => {
    expect([wantedStep(900, 5), wantedStep(900, 0.1), wantedStep(900, 0.01), wantedStep(900, undefined), wantedStep(3600, 50)]).toEqual([1, 10, 30, 1, undefined])
  })
})

const at = (s: number) => new Date(s * 1000).toISOString()
let id = 0
const turn = (s: number, from: string, to: string, instance = 'i1', more: object = {}): LiveEvent => ({
  id: ++id, time: at(s), kind: 'transition', app: 'shop/a', instance, command: 'c',
  transition: { time: at(s), from, to, cause: '', window: {}, command: 'c', at: 'provider', ...more },
})
const left = (s: number, instance: string): LiveEvent => ({ id: ++id, time: at(s), kind: 'instance.left', app: 'shop/a', instance })

describe('bands', () => {
  test('a circuit opens, tries and closes', () => {
    expect(fromTransitions([turn(10, 'closed', 'open'), turn(20, 'open', 'halfOpen'), turn(22, 'halfOpen', 'closed')], 0, 100)).toMatchObject([
      { from: 10, to: 20, state: 'open' }, { from: 20, to: 22, state: 'halfOpen' },
    ])
  })
  test('it was open before the range, and is open at its end', () => {
    expect(fromTransitions([turn(10, 'open', 'closed'), turn(90, 'closed', 'forcedOpen')], 0, 100)).toMatchObject([{ from: 0, to: 10, state: 'open' }, { from: 90, to: 100, state: 'forcedOpen' }])
  })
  test('of several instances the worst is shown, and one that left no longer counts', () => {
    const events = [turn(10, 'closed', 'open', 'i1'), turn(15, 'closed', 'forcedOpen', 'i2'), left(30, 'i2'), turn(40, 'open', 'closed', 'i1')]
    expect(fromTransitions(events, 0, 100).map((b) => [b.from, b.to, b.state])).toEqual([[10, 15, 'open'], [15, 30, 'forcedOpen'], [30, 40, 'open']])
  })
  test('only of the series, and of the instance', () => {
    const events = [turn(3, 'closed', 'open', 'i2'), turn(2, 'closed', 'open', 'i1', { at: 'caller', peer: 'shop/b' }), turn(1, 'closed', 'open')]
    expect(ofSeries(events, { command: 'c', at: 'provider' }).map((e) => e.id)).toEqual([events[2]!.id, events[0]!.id])
    expect(ofSeries(events, { command: 'c', at: 'caller', peer: 'shop/b' })).toHaveLength(1)
    expect(ofSeries(events, { command: 'c', at: 'provider' }, 'i2')).toHaveLength(1)
  })
  test('points tell of states that did not change', () => {
    const held = (time: number) => point(time, { step: 10, states: { forcedOpen: 1, closed: 1 } })
    expect(fromPoints([point(0), held(10), held(20), held(50)])).toMatchObject([{ from: 10, to: 30 }, { from: 50, to: 60 }])
    // The state that a transition is about is known exactly, and not told twice.
    expect(bands([turn(12, 'closed', 'forcedOpen'), turn(14, 'forcedOpen', 'closed')], [held(10)], 0, 100)).toMatchObject([{ from: 12, to: 14 }])
  })
  test('a circuit that neither moved nor was called is what it is now', () => {
    expect(bands([], [], 0, 100, { forcedOpen: 2 })).toMatchObject([{ from: 0, to: 100, state: 'forcedOpen' }])
    expect(bands([], [], 0, 100, { closed: 2 })).toEqual([])
    expect(bands([], [point(5)], 0, 100, { forcedOpen: 2 })).toEqual([])
  })
})

const policy = (s: number, kind: string, name: string, more: Partial<LiveEvent> = {}): LiveEvent => ({ id: ++id, time: at(s), kind, app: 'shop/a', policy: name, version: 3, actor: 'ann', reason: 'INC-1', ...more })
const joinedAt = (s: number, name: string): LiveEvent => ({ id: ++id, time: at(s), kind: 'instance.joined', app: 'shop/a', instance: name, reason: name })

describe('marks', () => {
  test('commands are named with or without their package', () => {
    expect(shortCommand('org.shop.Inventory.reserve')).toBe('Inventory.reserve')
    expect(shortCommand('GET /a.b/c')).toBe('GET /a.b/c')
    expect(shortCommand('reserve')).toBe('reserve')
    expect(concerns(policy(1, 'x', 'p', { command: 'Inventory.reserve' }), 'org.shop.Inventory.reserve')).toBe(true)
    expect(concerns(policy(1, 'x', 'p'), 'any')).toBe(true)
    expect(concerns(policy(1, 'x', 'p', { command: 'other' }), 'any')).toBe(false)
  })
  test('switches are pulled and released, policies published and ended', () => {
    const marks = marksOf({
      events: [policy(10, 'policy.published', 'shop/a.all.switch'), policy(20, 'policy.deleted', 'shop/mine'), policy(30, 'policy.published', 'shop/p'), policy(31, 'policy.confirmed', 'shop/p'), policy(32, 'policy.published', 'shop/q', { command: 'other' })],
      command: 'c', switches: new Set(['shop/mine']), bundle: 60,
      endings: [{ policy: 'shop/mine', version: 9, expires: at(50) }],
    })
    expect(marks.map((m) => [m.time, m.kind, m.to])).toEqual([
      [10, 'switch', '/policies/shop/a.all.switch?version=3'], [20, 'release', '/policies/shop/mine?version=3'],
      [30, 'policy', '/policies/shop/p?version=3'], [31, 'event', '/policies/shop/p?version=3'], [50, 'release', '/policies/shop/mine?version=9'],
    ])
    expect(isSwitch('shop/x', new Set())).toBe(false)
  })
  test('what ended by itself did so when it expired, not when it was tidied up', () => {
    const tidied = policy(700, 'policy.deleted', 'shop/a.all.switch', { actor: 'weir', reason: `it expired at ${at(100)}` })
    expect(marksOf({ events: [tidied], command: 'c', switches: new Set(), bundle: 1 })).toMatchObject([{ time: 100, kind: 'release' }])
  })
  test('an event that was read twice is one mark', () => {
    const e = policy(1, 'policy.published', 'shop/p')
    expect(marksOf({ events: [e, e], command: 'c', switches: new Set(), bundle: 1 })).toHaveLength(1)
  })
  test('many instances that come together are one mark', () => {
    const marks = bundled([joinedAt(90, 'p9'), joinedAt(12, 'p2'), joinedAt(10, 'p1'), left(14, 'p0')], 30)
    expect(marks.map((m) => [m.time, m.label, m.to])).toEqual([
      [10, '2 joined, 1 left', '/apps/shop/a?tab=instances'],
      [90, 'p9 joined', '/apps/shop/a?tab=instances&instance=p9'],
    ])
  })
  test('a moment leads to its traces', () => {
    const url = new URL(momentOf('shop/a', 'c', 1000, 1, { minMs: 12.7 }), 'http://x')
    expect(Object.fromEntries(url.searchParams)).toEqual({ app: 'shop/a', command: 'c', from: '985000', to: '1016000', minDuration: '12ms' })
    expect(new URL(momentOf('shop/a', 'c', 1000, 600, { error: true, minMs: 0.25 }), 'http://x').search).toContain('minDuration=250us')
  })
})

describe('odd instances', () => {
  const f = (instance: string, calls: number, errorPercent: number, p99Ms?: number) => ({ instance, calls, errorPercent, p99Ms })
  test('far off the others', () => {
    expect(Object.fromEntries(odd([f('a', 100, 0, 10), f('b', 100, 30, 10), f('c', 100, 1, 80), f('d', 5, 0, 10)]))).toEqual({ b: ['errors'], c: ['slow'], d: ['idle'] })
  })
  test('none where all are alike, and none alone', () => {
    expect(odd([f('a', 100, 50, 10), f('b', 90, 52, 12)]).size).toBe(0)
    expect(odd([f('a', 100, 50)]).size).toBe(0)
  })
})

describe('standing', () => {
  const h = (more: Partial<AppHealth>) => ({ live: 2, behind: 0, refusing: 0, errorPercent: 0, refusedPercent: 0, open: 0, forced: 0, side: 'provider' as const, rate: 1, ...more })
  test.each([[4, undefined, 'ok'], [6, 'warn', 'warn'], [30, 'bad', 'bad']])('%s %% of errors look alike here and on the overview', (errorPercent, here, there) => {
    const app = { app: 'shop/a', slowPercent: 0, inFlight: 0, commands: 1, ...h({ errorPercent, rate: 10 }) }
    expect(reasons(app)[0]?.tone).toBe(here)
    expect(conditionLook[conditionOf(app)].tone).toBe(there)
  })
  test('reasons, the worst first', () => {
    expect(reasons(h({}))).toEqual([])
    expect(reasons(h({ errorPercent: 30, open: 2, behind: 1 })).map((r) => r.key)).toEqual(['open', 'errors', 'behind'])
    // Who holds a circuit open wants calls refused.
    expect(reasons(h({ forced: 1, refusedPercent: 100 })).map((r) => r.key)).toEqual(['forced'])
    expect(reasons(h({ live: 0 })).map((r) => r.key)).toEqual(['gone'])
    expect(reasons(h({ live: 0, side: 'unseen' }))).toEqual([])
  })
  test('incomplete counts are worth a word, and no trouble', () => {
    expect(reasons(h({ lossy: true })).map((r) => r.key)).toEqual(['lossy'])
    expect(troubled(h({ lossy: true }))).toBe(false)
    expect(troubled(h({ behind: 1 }))).toBe(true)
  })
  test('order', () => {
    const all = [h({ open: 1 }), h({ open: 2 }), h({ errorPercent: 99 }), h({ behind: 1 }), h({}), h({ rate: 0 })].map(badness)
    expect([...all].sort((a, b) => b - a)).toEqual([all[1], all[0], all[2], all[3], all[4], all[5]])
  })
})

test('instances of one name are told apart', () => {
  const names = namesOf([{ instance: '11111111-2222', name: 'vm' }, { instance: '33333333-4444', name: 'vm' }, { instance: 'x', name: 'pod-1' }, { instance: 'y' }])
  expect([...names.values()]).toEqual(['vm 11111111', 'vm 33333333', 'pod-1', 'y'])
})

test('of what the stream told and what was answered the later is shown, with its time', () => {
  expect(newer(0, 0)).toEqual({ at: 0 })
  expect(newer(1000, 0)).toEqual({ from: 'stream', at: 1000 })
  expect(newer(1000, 900)).toEqual({ from: 'stream', at: 1000 })
  expect(newer(1000, 2000)).toEqual({ from: 'answer', at: 2000 })
})
