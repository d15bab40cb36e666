// Marks that stand too close to be told apart become one.
import type { Mark } from '~/charts/types'

export interface MarkGroup {
  time: number
  marks: Mark[]
}

/** grouped joins marks that are less than `apart` seconds from the first of their group, and leaves out those outside of the range. */
export function grouped(marks: readonly Mark[], from: number, to: number, apart: number): MarkGroup[] {
  const out: MarkGroup[] = []
  for (const m of [...marks].sort((a, b) => a.time - b.time)) {
    if (m.time < from || m.time > to) continue
    const last = out.at(-1)
    if (last && m.time - last.time < apart) last.marks.push(m)
    else out.push({ time: m.time, marks: [m] })
  }
  return out
}

const rank: Mark['kind'][] = ['switch', 'release', 'policy', 'route', 'event', 'deploy']

/** kindOf is the kind that a group is shown as: what people did comes before what happened. */
export function kindOf(g: MarkGroup): Mark['kind'] {
  return rank.find((k) => g.marks.some((m) => m.kind === k)) ?? 'event'
}
