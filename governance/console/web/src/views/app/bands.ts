// When a command's circuits were not closed.
import type { Band } from '~/charts/types'
import type { LiveEvent } from '~/live/store'
import { stateWord } from '~/ui/circuit'
import type { Point } from './series'

/** Worst first: of several instances, the worst state is shown. */
const order = ['forcedOpen', 'open', 'halfOpen', 'forcedClosed', 'disabled', 'closed']
const rank = (s: string) => {
  const i = order.indexOf(s)
  return i < 0 ? order.length : i
}

function worst(states: Iterable<string>): string {
  let out = 'closed'
  for (const s of states) if (rank(s) < rank(out)) out = s
  return out
}

interface Series {
  command: string
  at: string
  peer?: string
}

/** ofSeries are the transitions of one series, and the ends of instances, the oldest first. */
export function ofSeries(events: readonly LiveEvent[], s: Series, instance?: string): LiveEvent[] {
  return events
    .filter((e) => {
      if (instance && e.instance !== instance) return false
      if (e.kind === 'instance.left') return true
      const t = e.transition
      return t !== undefined && t.command === s.command && t.at === s.at && (t.peer ?? '') === (s.peer ?? '')
    })
    .sort((a, b) => Date.parse(a.time) - Date.parse(b.time) || a.id - b.id)
}

/** fromTransitions is exact: each instance's circuit is followed, and the worst of them is the band. */
export function fromTransitions(events: readonly LiveEvent[], from: number, to: number): Band[] {
  const now = new Map<string, string>()
  for (const e of events) {
    const id = e.instance ?? ''
    if (e.transition && !now.has(id)) now.set(id, e.transition.from) // as it was before the first that is known
  }
  const out: Band[] = []
  let since = from
  let state = worst(now.values())
  const close = (at: number) => {
    if (state !== 'closed' && at > since) push(out, { from: since, to: at, state, label: stateWord(state) })
    since = at
  }
  for (const e of events) {
    const at = Math.min(to, Math.max(from, Date.parse(e.time) / 1000))
    const id = e.instance ?? ''
    if (!now.has(id)) continue
    if (e.transition) now.set(id, e.transition.to)
    else now.delete(id)
    const next = worst(now.values())
    if (next === state) continue
    close(at)
    state = next
  }
  close(to)
  return out
}

function push(out: Band[], b: Band) {
  const last = out.at(-1)
  if (last && last.state === b.state && b.from - last.to < 0.001) last.to = b.to
  else out.push(b)
}

/** fromPoints tells what points say of states: as coarse as they are, but also of circuits that did not move in the range. */
export function fromPoints(points: readonly Point[]): Band[] {
  const out: Band[] = []
  for (const p of points) {
    const state = worst(Object.entries(p.states ?? {}).flatMap(([s, n]) => (n > 0 ? [s] : [])))
    if (state === 'closed') continue
    const last = out.at(-1)
    if (last && last.state === state && p.time - last.to <= p.step * 1.5) last.to = p.time + p.step
    else out.push({ from: p.time, to: p.time + p.step, state, label: stateWord(state) })
  }
  return out
}

/**
 * bands joins both: transitions where there are any, and from points the states
 * that no transition of the range is about. `now` are the states as they are, for a
 * circuit that neither moved nor was called.
 */
export function bands(transitions: readonly LiveEvent[], points: readonly Point[], from: number, to: number, now: Record<string, number> = {}): Band[] {
  const exact = fromTransitions(transitions, from, to)
  const about = new Set(transitions.flatMap((e) => (e.transition ? [e.transition.from, e.transition.to] : [])))
  const coarse = fromPoints(points).filter((b) => !about.has(b.state) && b.to > from && b.from < to)
  const out = [...exact, ...coarse]
  if (out.length === 0 && about.size === 0 && points.length === 0) {
    const state = worst(Object.entries(now).flatMap(([s, n]) => (n > 0 ? [s] : [])))
    if (state !== 'closed') out.push({ from, to, state, label: stateWord(state) })
  }
  return out.sort((a, b) => a.from - b.from)
}
