import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Row, rowId } from './row'
import { inView, rowOf, type Span, type Tree } from './rows'
import { moment } from './show'
import { percent, ticks, type Part } from './time'
import { words as w } from './words'

const narrow = matchMedia('(max-width: 640px)')
/** The view is asked anew only every so many rows of scrolling. */
const stride = 4
/** How much of the width the time axis has; the rest is for names. */
const axisShare = 0.62

function useRowHeight(): number {
  const [is, set] = useState(narrow.matches)
  useEffect(() => {
    const changed = () => set(narrow.matches)
    narrow.addEventListener('change', changed)
    return () => narrow.removeEventListener('change', changed)
  }, [])
  return is ? 46 : 26
}

export interface WaterfallProps {
  spans: readonly Span[]
  tree: Tree
  /** Indices of the spans to be seen. */
  rows: readonly number[]
  colors: ReadonlyMap<string, string>
  part: Part
  critical: boolean
  collapsed: ReadonlySet<number>
  matches: ReadonlySet<number>
  /** The span that the keyboard is on, and the one whose details are shown; -1 for none. */
  active: number
  selected: number
  /** Grows when the active span is to be brought to where it is seen. */
  reveal: number
  onActive: (span: number) => void
  onSelect: (span: number) => void
  onFold: (span: number) => void
  onKey: (e: KeyboardEvent, page: number) => void
}

/** Waterfall draws only the rows that are seen, so that a trace may have any number of them. */
export function Waterfall(p: WaterfallProps) {
  const box = useRef<HTMLDivElement>(null)
  const head = useRef<HTMLDivElement>(null)
  const height = useRowHeight()
  const [first, setFirst] = useState(0)
  const [size, setSize] = useState({ width: 900, height: 600 })
  const scrolled = () => setFirst(Math.floor((box.current?.scrollTop ?? 0) / (height * stride)) * stride)
  useLayoutEffect(() => {
    const el = box.current
    if (!el) return
    const measure = () => setSize((old) => (old.width === el.clientWidth && old.height === el.clientHeight ? old : { width: el.clientWidth, height: el.clientHeight }))
    const seen = new ResizeObserver(measure)
    seen.observe(el)
    measure()
    return () => seen.disconnect()
  }, [])
  useLayoutEffect(() => {
    const el = box.current
    const row = rowOf(p.rows, p.active)
    if (!el || row < 0) return
    const top = row * height
    const room = el.clientHeight - (head.current?.offsetHeight ?? 0)
    if (top < el.scrollTop) el.scrollTop = top
    else if (top + height > el.scrollTop + room) el.scrollTop = p.reveal > 0 && top > el.scrollTop + 2 * room ? top - room / 2 : top + height - room
    scrolled()
  }, [p.active, p.reveal, p.rows, height])
  const [from, to] = inView(first * height, size.height, height, p.rows.length, 2 * stride)
  const drawn: number[] = []
  for (let r = from; r < to; r++) drawn.push(r)
  // What the keyboard is on stays in the page, so that a screen reader does not lose it.
  const on = rowOf(p.rows, p.active)
  if (on >= 0 && (on < from || on >= to)) drawn.push(on)
  const marks = ticks(p.part, Math.max(2, Math.floor((size.width * (narrow.matches ? 1 : axisShare)) / 95)))
  const spanAt = (e: Event) => {
    const row = (e.target as HTMLElement).closest<HTMLElement>('[data-index]')
    return row ? Number(row.dataset.index) : -1
  }
  return (
    <div
      class="wf"
      ref={box}
      role="treegrid"
      tabIndex={0}
      aria-label={w('tree')}
      aria-rowcount={p.rows.length + 1}
      aria-colcount={2}
      aria-activedescendant={on >= 0 ? rowId(p.active) : undefined}
      onScroll={scrolled}
      onClick={(e) => {
        const i = spanAt(e)
        if (i < 0) return
        if ((e.target as HTMLElement).closest('[data-fold]')) {
          p.onActive(i)
          p.onFold(i)
        } else p.onSelect(i)
      }}
      onDblClick={(e) => {
        const i = spanAt(e)
        if (i >= 0 && p.tree.children[i]! > 0) p.onFold(i)
      }}
      onKeyDown={(e) => {
        if (e.target === box.current) p.onKey(e, Math.max(1, Math.floor(size.height / height) - 2))
      }}
    >
      <div class="wf-head" ref={head} role="row" aria-rowindex={1}>
        <div class="wf-name" role="columnheader">
          {w('span')}
        </div>
        <div class="wf-time" role="columnheader" aria-label={w('time')}>
          {marks.map((t) => {
            const at = percent(t, p.part)
            return (
              <span key={t} class="num" style={at > 92 ? { right: `${Math.max(0, 100 - at)}%` } : { left: `${at}%` }}>
                {moment(t)}
              </span>
            )
          })}
        </div>
      </div>
      <div class="wf-rows" role="rowgroup" style={{ height: `${p.rows.length * height}px` }}>
        <div class="wf-grid" role="presentation">
          {marks.map((t) => (
            <i key={t} style={{ left: `${percent(t, p.part)}%` }} />
          ))}
        </div>
        {drawn.map((r) => {
          const i = p.rows[r]!
          const s = p.spans[i]!
          return (
            <Row
              key={i}
              span={s}
              tree={p.tree}
              index={i}
              row={r}
              height={height}
              part={p.part}
              color={p.colors.get(s.service) ?? '--c8'}
              critical={p.critical}
              collapsed={p.collapsed.has(i)}
              active={i === p.active}
              selected={i === p.selected}
              match={p.matches.has(i)}
            />
          )
        })}
      </div>
    </div>
  )
}
