import { memo } from 'preact/compat'
import { Icon } from '~/ui/icons'
import type { Span, Tree } from './rows'
import { fallbackWord, moment, policyWord, refusalWord, serviceOf, took } from './show'
import { barOf, barsOf, labelAt, percent, type Part } from './time'
import { words as w } from './words'

/** Levels beyond this are not moved further to the right: the names would have no room. */
const mostIndent = 18

interface Props {
  span: Span
  tree: Tree
  index: number
  /** Which of the visible rows it is. */
  row: number
  height: number
  part: Part
  color: string
  critical: boolean
  collapsed: boolean
  active: boolean
  selected: boolean
  match: boolean
}

export const rowId = (index: number) => `span-${index}`

/** Row is a span. Clicks and keys are the waterfall's: a row that scrolls by has no handlers to be set. */
export const Row = memo(function Row({ span: s, tree, index, row, height, part, color, critical, collapsed, active, selected, match }: Props) {
  const children = tree.children[index]!
  const up = tree.parent[index]!
  const name = s.name || s.remote || ''
  return (
    <div
      id={rowId(index)}
      class={`wf-row ${active ? 'active' : ''} ${selected ? 'selected' : ''} ${match ? 'match' : ''}`}
      role="row"
      aria-level={s.depth + 1}
      aria-posinset={tree.position[index]}
      aria-setsize={up < 0 ? tree.tops : tree.children[up]}
      aria-rowindex={row + 2}
      aria-expanded={children > 0 ? !collapsed : undefined}
      aria-selected={selected}
      data-index={index}
      style={{ top: `${row * height}px`, height: `${height}px` }}
    >
      <div class="wf-name" role="gridcell" style={{ paddingInlineStart: `${0.25 + Math.min(s.depth, mostIndent) * 0.75}rem` }}>
        <span class={`fold ${children > 0 ? '' : 'leaf'}`} data-fold={children > 0 ? '' : undefined} title={children > 0 ? w(collapsed ? 'open' : 'close') : undefined}>
          {children > 0 && <Icon name={collapsed ? 'right' : 'down'} size={11} />}
        </span>
        <span class="swatch" style={{ background: `var(${color})` }} aria-hidden="true" />
        {s.error && (
          <span class="bad-text">
            <Icon name="bad" size={12} label={w('failed')} />
          </span>
        )}
        <span class="cut">
          <strong>{serviceOf(s.service)}</strong> {name}
          {s.name && s.remote && <span class="muted"> → {s.remote}</span>}
        </span>
        <Marks span={s} />
        {collapsed && <span class="muted num nowrap">{w('below', { n: tree.end[index]! - index - 1 })}</span>}
      </div>
      <div class="wf-time" role="gridcell">
        <Times span={s} part={part} color={color} critical={critical} />
      </div>
    </div>
  )
})

/** Marks say what a breaker, a switch or a policy did. */
function Marks({ span: s }: { span: Span }) {
  return (
    <>
      {s.refused && (
        <span class="mark refused" title={refusalWord(s.refused)}>
          <Icon name={s.refused === 'switched' ? 'switches' : s.refused === 'full' ? 'filter' : 'bolt'} size={11} />
          <span class="text">{refusalWord(s.refused)}</span>
        </span>
      )}
      {s.fallback && (
        <span class="mark fallback" title={fallbackWord(s.fallback)}>
          <Icon name="undo" size={11} />
          <span class="text">{w('fallback')}</span>
        </span>
      )}
      {s.policy && !s.refused && !s.fallback && (
        <span class="mark" title={policyWord(s)}>
          <Icon name="policies" size={11} label={policyWord(s)} />
        </span>
      )}
      {(s.missingParent || s.skewed) && (
        <span class="mark warn" title={s.missingParent ? w('missingParent') : w('clockMoved', { by: moment(s.skewed ?? 0) })}>
          <Icon name={s.missingParent ? 'warn' : 'clock'} size={11} label={s.missingParent ? w('missingParent') : w('clockMoved', { by: moment(s.skewed ?? 0) })} />
        </span>
      )}
    </>
  )
}

/** More events than these on one bar are a smear. */
const mostEvents = 30

function Times({ span: s, part, color, critical }: { span: Span; part: Part; color: string; critical: boolean }) {
  const bar = barOf(s.start, s.start + s.duration, part)
  const text = s.duration === 0 ? w('noTime') : took(s.duration)
  if (!bar) {
    return (
      <span class={`out ${s.start > part.to ? 'later' : ''}`}>
        {s.start > part.to ? '' : '‹ '}
        {text}
        {s.start > part.to ? ' ›' : ''}
      </span>
    )
  }
  const where = labelAt(bar)
  const end = bar.left + bar.width
  const label = where === 'after' ? { left: `${end}%` } : where === 'before' ? { right: `${100 - bar.left}%` } : { right: '0.25rem' }
  return (
    <>
      <span class={`wf-bar ${s.error ? 'error' : ''} ${s.refused || s.fallback ? 'governed' : ''}`} style={{ left: `${bar.left}%`, width: `${bar.width}%`, background: `var(${color})` }} />
      {critical && barsOf(s.critical, part).map((c, i) => <span key={i} class="wf-critical" style={{ left: `${c.left}%`, width: `${c.width}%` }} />)}
      {s.annotations.slice(0, mostEvents).map((a, i) => (
        <span key={`a${i}`} class="wf-event" title={`${moment(a.at)} ${a.value}`} style={{ left: `${percent(a.at, part)}%` }} />
      ))}
      <span class={`wf-label num ${where}`} style={label}>
        {text}
      </span>
    </>
  )
}
