import { clock } from '~/app/clock'
import * as format from '~/i18n/format'

/** Time shows a time of day, with all of it as its title. */
export function Time({ at }: { at: string | number | Date | undefined }) {
  if (at === undefined) return <span class="muted">–</span>
  return (
    <time class="num nowrap" dateTime={iso(at)} title={format.fullTime(at)}>
      {format.time(at)}
    </time>
  )
}

/** Ago shows how long ago or until, and goes on counting. */
export function Ago({ at }: { at: string | number | Date | undefined }) {
  if (at === undefined) return <span class="muted">–</span>
  return (
    <time class="num nowrap" dateTime={iso(at)} title={format.fullTime(at)}>
      {format.ago(at, clock.value)}
    </time>
  )
}

function iso(at: string | number | Date): string {
  const d = new Date(at)
  return Number.isNaN(d.getTime()) ? '' : d.toISOString()
}
