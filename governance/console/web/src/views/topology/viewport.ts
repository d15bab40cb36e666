// What of the plane is seen: moved and scaled by mouse, fingers and keys.
import type { Point } from './places'

/** A point p of the plane is shown at p·k + (x, y). */
export interface View {
  x: number
  y: number
  k: number
}

export interface Size {
  width: number
  height: number
}

const smallest = 0.05
const largest = 2.5
const bound = (k: number) => Math.min(largest, Math.max(smallest, k))

/** fitted shows the whole plane, in the middle, and no larger than it is. */
export function fitted(plane: Size, frame: Size, padding = 12): View {
  if (plane.width <= 0 || plane.height <= 0 || frame.width <= 0 || frame.height <= 0) return { x: 0, y: 0, k: 1 }
  const k = bound(Math.min(1, (frame.width - 2 * padding) / plane.width, (frame.height - 2 * padding) / plane.height))
  return { k, x: (frame.width - plane.width * k) / 2, y: (frame.height - plane.height * k) / 2 }
}

/** Below this scale of the whole nothing of it can be read, and from this one all can. */
const tooSmall = 0.5
const readable = 0.65

/**
 * started is what is seen at first: the whole, or where text would be too small,
 * the part in which most of the points that matter lie.
 */
export function started(plane: Size, frame: Size, matter: readonly Point[]): View {
  const whole = fitted(plane, frame)
  if (whole.k >= tooSmall || frame.width <= 0) return whole
  const [w, h] = [frame.width / readable, frame.height / readable]
  const inside = (c: Point) => matter.filter((p) => Math.abs(p.x - c.x) <= w / 2 - 100 && Math.abs(p.y - c.y) <= h / 2 - 40).length
  let at: Point = matter[0] ?? { x: 0, y: plane.height / 2 }
  for (const p of matter) if (inside(p) > inside(at)) at = p
  // What lies beyond the edge of the plane is empty.
  const along = (c: number, seen: number, size: number) => (size <= seen ? size / 2 : Math.min(size - seen / 2, Math.max(seen / 2, c)))
  return { k: readable, x: frame.width / 2 - along(at.x, w, plane.width) * readable, y: frame.height / 2 - along(at.y, h, plane.height) * readable }
}

/** zoomed scales by a factor around a point of the frame, which stays where it is. */
export function zoomed(v: View, at: Point, factor: number): View {
  const k = bound(v.k * factor)
  const f = k / v.k
  return { k, x: at.x - (at.x - v.x) * f, y: at.y - (at.y - v.y) * f }
}

/** moved shifts what is seen. */
export function moved(v: View, dx: number, dy: number): View {
  return { ...v, x: v.x + dx, y: v.y + dy }
}

/** revealed moves as little as needed for a point of the plane to be seen. */
export function revealed(v: View, p: Point, frame: Size, margin: number): View {
  const shift = (at: number, size: number) => (at < margin ? margin - at : at > size - margin ? size - margin - at : 0)
  const dx = shift(p.x * v.k + v.x, frame.width)
  const dy = shift(p.y * v.k + v.y, frame.height)
  return dx === 0 && dy === 0 ? v : moved(v, dx, dy)
}

/** A part of the plane. */
export interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

/** What is seen is told in steps of so much of the plane, so that moving it draws nothing anew between two of them. */
const cell = 400

/** seen is the part of the plane that is in the frame, and some around it. */
export function seen(v: View, frame: Size): Box {
  const from = (at: number) => (Math.floor(-at / v.k / cell) - 0.5) * cell
  const to = (at: number, size: number) => (Math.ceil((size - at) / v.k / cell) + 0.5) * cell
  return { left: from(v.x), top: from(v.y), right: to(v.x, frame.width), bottom: to(v.y, frame.height) }
}

/** within reports whether any of what lies around some points, so far from each, is in a part of the plane. */
export function within(box: Box, points: readonly Point[], dx = 0, dy = 0): boolean {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity]
  for (const p of points) {
    left = Math.min(left, p.x)
    right = Math.max(right, p.x)
    top = Math.min(top, p.y)
    bottom = Math.max(bottom, p.y)
  }
  return left - dx <= box.right && right + dx >= box.left && top - dy <= box.bottom && bottom + dy >= box.top
}

/** apart leaves out of some places, the first of which matter most, those that would cover one before them. */
export function apart<T>(of: readonly T[], at: (t: T) => Point | undefined, size: Size): T[] {
  const taken: Point[] = []
  return of.filter((t) => {
    const p = at(t)
    if (!p || taken.some((q) => Math.abs(p.x - q.x) < size.width && Math.abs(p.y - q.y) < size.height)) return false
    taken.push(p)
    return true
  })
}

/** pathOf draws a line through points, rounded at its corners. */
export function pathOf(points: readonly Point[]): string {
  const [first, ...rest] = points
  if (!first) return ''
  const at = (p: Point) => `${p.x.toFixed(1)} ${p.y.toFixed(1)}`
  if (rest.length < 2) return `M${at(first)}${rest.map((p) => `L${at(p)}`).join('')}`
  let d = `M${at(first)}`
  for (let i = 0; i < rest.length - 1; i++) {
    const [p, next] = [rest[i]!, rest[i + 1]!]
    const end = i === rest.length - 2 ? next : { x: (p.x + next.x) / 2, y: (p.y + next.y) / 2 }
    d += `Q${at(p)} ${at(end)}`
  }
  return d
}
