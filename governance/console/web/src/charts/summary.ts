// What a chart says to those who do not see it.
import type { ChartSeries } from '~/charts/types'

export interface Summary {
  label: string
  last?: number
  least?: number
  most?: number
  /** Unix seconds of the highest value. */
  mostAt?: number
}

/** summaries tells of each line its last, lowest and highest value. */
export function summaries(times: readonly number[], series: readonly ChartSeries[]): Summary[] {
  return series.map((s) => {
    const out: Summary = { label: s.label }
    s.values.forEach((v, i) => {
      if (v === null || v === undefined) return
      out.last = v
      if (out.least === undefined || v < out.least) out.least = v
      if (out.most === undefined || v > out.most) {
        out.most = v
        out.mostAt = times[i]
      }
    })
    return out
  })
}
