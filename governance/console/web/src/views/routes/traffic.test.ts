import { describe, expect, test } from 'vitest'
import { allOf, bandsOf, marksOf, trafficOf } from '~/views/routes/traffic'
import type { Version } from '~/views/routes/route'

const at = (s: number) => new Date(s * 1000).toISOString()
const point = (s: number, more: object) => ({ time: at(s), counts: {}, inFlight: 0, instances: 1, ...more })

describe('traffic', () => {
  test('counts become figures for each second', () => {
    const t = trafficOf({ step: '10s', points: [point(0, { counts: { success: 70, failure: 10, timeout: 5, rejected: 10, switched: 5 }, latency: { p50: '1.5ms', p90: '2ms', p99: '1s', max: '2s' } }), point(20, { counts: { shortCircuited: 10 } })] })
    expect(t).toMatchObject({ step: 10, times: [0, 20], calls: [10, 1], failed: [1.5, 0], refused: [1.5, 1], p50: [1.5, null], p99: [1000, null] })
  })
  test('every call counts once', () => expect(allOf({ success: 1, failure: 2, ignored: 3, timeout: 4, canceled: 5, rejected: 6, shortCircuited: 7, switched: 8, fallbackSuccess: 100, slow: 100 })).toBe(36))
  test('no points at all', () => expect(trafficOf({ step: '1s', points: null }).times).toEqual([]))
})

test('states that follow one another are one band, the worst of several gateways', () => {
  const bands = bandsOf(
    { step: '10s', points: [point(0, { states: { closed: 2 } }), point(10, { states: { open: 1, closed: 1 } }), point(20, { states: { open: 2 } }), point(40, { states: { open: 1 } }), point(50, { states: { halfOpen: 1 } }), point(60, { states: { disabled: 1 } })] },
    (s) => s.toUpperCase(),
  )
  expect(bands).toEqual([
    { from: 10, to: 30, state: 'open', label: 'OPEN' },
    { from: 40, to: 50, state: 'open', label: 'OPEN' },
    { from: 50, to: 60, state: 'halfOpen', label: 'HALFOPEN' },
  ])
})

test('versions within the range are marked, the oldest first', () => {
  const version = (revision: number, s: number) => ({ revision, created: at(s), actor: 'user:a', reason: 'r', route: {} }) as Version
  const marks = marksOf([version(3, 300), version(2, 200), version(1, 50)], 100, 300, (v) => String(v.revision), (v) => `/${v.revision}`)
  expect(marks).toEqual([{ time: 200, kind: 'route', label: '2', to: '/2' }, { time: 300, kind: 'route', label: '3', to: '/3' }])
})
