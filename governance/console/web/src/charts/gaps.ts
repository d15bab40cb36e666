// Where a line has to break, and which points would then not be seen.

/** split puts a row without values between points that are further apart than one and a half steps: there nothing is known, and no line may say otherwise. */
export function split(times: readonly number[], columns: readonly (readonly (number | null)[])[], step: number): { times: number[]; columns: (number | null)[][] } {
  const outTimes: number[] = []
  const out: (number | null)[][] = columns.map(() => [])
  times.forEach((t, i) => {
    const before = times[i - 1]
    if (before !== undefined && t - before > 1.5 * step) {
      outTimes.push(before + step)
      for (const c of out) c.push(null)
    }
    outTimes.push(t)
    columns.forEach((c, k) => out[k]!.push(c[i] ?? null))
  })
  return { times: outTimes, columns: out }
}

/** lonely returns the places of values that have no neighbour: a line of one point is not seen, so it is drawn as a dot. */
export function lonely(values: ArrayLike<number | null | undefined>): number[] {
  const out: number[] = []
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) out.push(i)
  }
  return out
}
