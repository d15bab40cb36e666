// What charts of this console are given.

/** A line of a chart. */
export interface ChartSeries {
  label: string
  /** One value for each time; null where there is none, which is a gap. */
  values: (number | null)[]
  /** A design token, such as "--c1" or "--bad". */
  color: string
  /** Fill what is below it. */
  fill?: boolean
  /** Draw dashes: a second sign beside the colour. */
  dash?: boolean
  /** Which scale it has; values of two units have two. */
  scale?: 'left' | 'right'
}

/** A state over some time, drawn as a band. */
export interface Band {
  /** Unix seconds. */
  from: number
  to: number
  /** A circuit's state. */
  state: string
  label: string
}

/** Something that happened, drawn as a mark on the time axis. */
export interface Mark {
  /** Unix seconds. */
  time: number
  kind: 'policy' | 'route' | 'switch' | 'release' | 'deploy' | 'event'
  label: string
  /** Where it leads. */
  to?: string
}

export interface TimeChartProps {
  title: string
  /** Unix seconds, ascending. */
  times: number[]
  series: ChartSeries[]
  /** How values are written, on the axis and at the cursor; by scale. */
  format: (v: number) => string
  formatRight?: (v: number) => string
  /** The whole time axis, also where there are no points. */
  from: number
  to: number
  /** Distance of points in seconds: where two are further apart, the line has a gap. */
  step: number
  bands?: Band[]
  marks?: Mark[]
  /** A range was chosen by dragging or by the keyboard. */
  onZoom?: (from: number, to: number) => void
  /** A moment was chosen by a click or Enter: what leads to the traces behind it. */
  onPick?: (time: number) => void
  /** Charts with one key share their cursor. */
  sync?: string
  height?: number
  /** What to say where there is no point at all. */
  empty?: string
}
