// What keys do in a chart.

export type KeyDeed = { move: number } | { end: 'first' | 'last' } | { zoom: number } | { pick: true } | { leave: true }

/** deedOf is what a key asks of a chart; undefined where it is none of the chart's. */
export function deedOf(e: { key: string; shiftKey: boolean; ctrlKey: boolean; metaKey: boolean; altKey: boolean }): KeyDeed | undefined {
  if (e.ctrlKey || e.metaKey || e.altKey) return undefined
  switch (e.key) {
    case 'ArrowLeft':
      return { move: e.shiftKey ? -10 : -1 }
    case 'ArrowRight':
      return { move: e.shiftKey ? 10 : 1 }
    case 'Home':
      return { end: 'first' }
    case 'End':
      return { end: 'last' }
    case '+':
    case '=':
      return { zoom: 0.5 }
    case '-':
      return { zoom: 2 }
    case 'Enter':
      return { pick: true }
    case 'Escape':
      return { leave: true }
    default:
      return undefined
  }
}

/** moved is the place after moving through data whose rows may hold nothing: those are passed over. */
export function moved(at: number | undefined, by: number, length: number, has: (i: number) => boolean): number | undefined {
  const dir = by < 0 ? -1 : 1
  let i = at ?? (dir < 0 ? length : -1)
  let last = at
  for (let left = Math.abs(by); left > 0; ) {
    i += dir
    if (i < 0 || i >= length) break
    if (!has(i)) continue
    last = i
    left--
  }
  return last
}
