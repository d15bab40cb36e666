// The time axis of a trace. Times are microseconds from its start.
import { round125 } from '~/views/traces/scatter'

export interface Part {
  from: number
  to: number
}

/** The least that is zoomed to, in microseconds. */
const least = 10

/** within keeps a part of the axis inside of the whole, and not too small. */
export function within(part: Part, total: number): Part {
  const length = Math.min(Math.max(part.to - part.from, Math.min(least, total)), total)
  const from = Math.min(Math.max(0, part.from), total - length)
  return { from, to: from + length }
}

/** zoomed makes the part shorter (below 1) or longer, around a moment that stays where it is. */
export function zoomed(part: Part, total: number, factor: number, around = (part.from + part.to) / 2): Part {
  return within({ from: around - (around - part.from) * factor, to: around + (part.to - around) * factor }, total)
}

/** panned moves the part by a share of its length. */
export function panned(part: Part, total: number, share: number): Part {
  const by = (part.to - part.from) * share
  return within({ from: part.from + by, to: part.to + by }, total)
}

/** parsePart reads "from-to" from the address; all of the axis where there is none. */
export function parsePart(text: string | undefined, total: number): Part {
  const m = /^(\d+)-(\d+)$/.exec(text ?? '')
  if (!m || Number(m[1]) >= Number(m[2])) return { from: 0, to: total }
  return within({ from: Number(m[1]), to: Number(m[2]) }, total)
}

/** formatPart writes it; undefined for all of the axis. */
export function formatPart(part: Part, total: number): string | undefined {
  const [from, to] = [Math.round(part.from), Math.round(part.to)]
  return from <= 0 && to >= total ? undefined : `${from}-${to}`
}

/** ticks are round moments of a part of the axis. */
export function ticks(part: Part, most: number): number[] {
  const length = part.to - part.from
  if (!(length > 0)) return [part.from]
  const step = round125(length / most)
  const out: number[] = []
  for (let k = Math.max(0, Math.ceil(part.from / step - 1e-9)); k * step <= part.to; k++) out.push(k * step)
  return out
}

/** percent is where a moment stands on a part of the axis, kept near it so that figures stay small. */
export function percent(at: number, part: Part): number {
  return Math.min(101, Math.max(-1, ((at - part.from) / Math.max(1e-9, part.to - part.from)) * 100))
}

export interface Bar {
  /** Percent of the axis. */
  left: number
  width: number
}

/** barOf places something on a part of the axis; undefined if it is all outside. */
export function barOf(from: number, to: number, part: Part): Bar | undefined {
  if (to < part.from || from > part.to) return undefined
  const left = percent(from, part)
  return { left, width: percent(to, part) - left }
}

/** barsOf places several parts, which ascend, and draws those as one that are too near each other to be told apart. */
export function barsOf(parts: readonly (readonly number[])[], part: Part, gap = 0.15): Bar[] {
  const out: Bar[] = []
  for (const [from = 0, to = 0] of parts) {
    const bar = barOf(from, to, part)
    if (!bar) continue
    const last = out[out.length - 1]
    if (last && bar.left - (last.left + last.width) < gap) last.width = Math.max(last.width, bar.left + bar.width - last.left)
    else out.push(bar)
  }
  return out
}

/** labelAt says where a bar's text has room: after it, before it, or on it. */
export function labelAt(bar: Bar): 'after' | 'before' | 'on' {
  if (bar.left + bar.width < 84) return 'after'
  return bar.left > 16 ? 'before' : 'on'
}
