// The marks of a chart: small buttons above the plot, each at its time.
import { useEffect, useRef, useState } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { grouped, kindOf, type MarkGroup } from '~/charts/marks'
import type { Mark } from '~/charts/types'
import { w } from '~/charts/words'
import * as format from '~/i18n/format'
import { Icon, type IconName } from '~/ui/icons'

const icons: Record<Mark['kind'], IconName> = { policy: 'policies', route: 'routes', switch: 'lock', release: 'undo', deploy: 'apps', event: 'events' }

export function Marks({ marks, from, to, width, left, right }: { marks: Mark[]; from: number; to: number; width: number; left: number; right: number }) {
  const plot = Math.max(1, width - left - right)
  const groups = grouped(marks, from, to, ((to - from) * 20) / plot)
  return (
    <ul class="marks" aria-label={w('marks')} style={{ marginLeft: `${left}px`, width: `${plot}px` }}>
      {groups.map((g) => (
        <One key={`${g.time}${kindOf(g)}`} group={g} part={(g.time - from) / (to - from)} />
      ))}
    </ul>
  )
}

function One({ group, part }: { group: MarkGroup; part: number }) {
  const [open, setOpen] = useState(false)
  const ref = useRef<HTMLLIElement>(null)
  useEffect(() => {
    if (!open) return
    const elsewhere = (e: Event) => {
      if (!ref.current?.contains(e.target as Node)) setOpen(false)
    }
    document.addEventListener('pointerdown', elsewhere)
    return () => document.removeEventListener('pointerdown', elsewhere)
  }, [open])
  const kind = kindOf(group)
  const [first] = group.marks
  const single = group.marks.length === 1 ? first : undefined
  const name = single ? `${w(single.kind)}: ${single.label}, ${format.time(single.time * 1000)}` : `${w('marksOf', { n: group.marks.length })}, ${format.time(group.time * 1000)}`
  const face = (
    <>
      <Icon name={icons[kind]} size={11} />
      {!single && <span aria-hidden="true">{group.marks.length}</span>}
    </>
  )
  return (
    <li
      ref={ref}
      class={`mark k-${kind} ${open ? 'open' : ''} ${part > 0.5 ? 'late' : ''}`}
      style={{ left: `${part * 100}%` }}
      onKeyDown={(e) => {
        if (e.key !== 'Escape') return
        setOpen(false)
        ref.current?.querySelector('button')?.focus()
      }}
    >
      {single?.to ? (
        <Link href={single.to} class="face" aria-label={name}>
          {face}
        </Link>
      ) : (
        <button type="button" class="face" aria-label={name} aria-expanded={open} onClick={() => setOpen(!open)}>
          {face}
        </button>
      )}
      <div class="tip">
        {group.marks.map((m, i) => (
          <div key={i}>
            <span class="muted num">{format.time(m.time * 1000)}</span> <span class="kind">{w(m.kind)}</span> {m.to && !single ? <Link href={m.to}>{m.label}</Link> : m.label}
          </div>
        ))}
      </div>
    </li>
  )
}
