/** Spark is a small line without axes. A missing value is a gap. It is drawn beside the figure that it belongs to, and says nothing by itself. */
export function Spark({ values, width = 96, height = 24, max }: { values: readonly (number | null | undefined)[]; width?: number; height?: number; max?: number }) {
  const d = sparkPath(values, width, height, max)
  return (
    <svg class="spark" width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" preserveAspectRatio="none">
      <path class="line" d={d} />
    </svg>
  )
}

export function sparkPath(values: readonly (number | null | undefined)[], width: number, height: number, max?: number): string {
  const top = max ?? Math.max(0, ...values.filter((v): v is number => typeof v === 'number'))
  if (values.length < 2) return ''
  let pen = 'M'
  let d = ''
  values.forEach((v, i) => {
    if (typeof v !== 'number') {
      pen = 'M'
      return
    }
    const x = ((i / (values.length - 1)) * width).toFixed(1)
    const y = (height - 1 - (top > 0 ? Math.min(1, v / top) : 0) * (height - 2)).toFixed(1)
    d += `${pen}${x} ${y}`
    pen = 'L'
  })
  return d
}
