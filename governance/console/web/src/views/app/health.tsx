// Health of applications as it is shown in the list and on top of the one.
import { useGet } from '~/api/query'
import * as format from '~/i18n/format'
import { formatNumber } from '~/i18n'
import { health, type AppHealth } from '~/live/store'
import { heard, liveState } from '~/live/stream'
import { words as shared } from '~/app/words'
import { Badge, Notice } from '~/ui/basic'
import type { IconName } from '~/ui/icons'
import { errorsBad, errorsWarn } from '~/ui/condition'
import { reasons, troubled, type Reason } from './standing'
import { words as w } from './words'

/** useHealth is what is known of all applications: from the live stream, and from a question every few seconds while that does not tell. */
export function useHealth() {
  const live = liveState.value === 'live' && health.value.size > 0
  const query = useGet('/api/v1/health', undefined, { enabled: !live, every: live ? false : 10_000 })
  const told = health.value.size > 0 ? heard.value : 0
  const { from, at } = live ? { from: 'stream' as const, at: told } : newer(told, query.data ? query.dataUpdatedAt : 0)
  const items: readonly AppHealth[] | undefined = from === 'stream' ? [...health.value.values()] : from === 'answer' ? query.data?.items : undefined
  return { items, live, query, from, at }
}

/** newer is which of what the stream told last and what was answered last is later; neither, if nothing came. */
export function newer(told: number, answered: number): { from?: 'stream' | 'answer'; at: number } {
  return told === 0 && answered === 0 ? { at: 0 } : told >= answered ? { from: 'stream', at: told } : { from: 'answer', at: answered }
}

/** Old says from when figures are that the stream does not keep up to date, and whether anything else does. */
export function Old({ of: { live, from, at, query } }: { of: ReturnType<typeof useHealth> }) {
  if (live || from === undefined || liveState.value !== 'stale') return null
  return (
    <Notice tone="warn" live>
      {query.error ? shared('staleData', { time: format.time(at), why: query.error.detail }) : w('staleList', { time: format.time(at) })}
    </Notice>
  )
}

const icons: Partial<Record<Reason['key'], IconName>> = { open: 'bolt', forced: 'lock' }

export function ReasonBadge({ reason: r }: { reason: Reason }) {
  const percent = r.key === 'errors' || r.key === 'someErrors' || r.key === 'refused'
  return (
    <Badge tone={r.tone} icon={icons[r.key]} title={r.key === 'lossy' ? w('lossyHelp') : undefined}>
      {w(r.key, { n: percent ? formatNumber(r.n, r.n >= 10 ? 0 : 1) : r.n })}
    </Badge>
  )
}

/** Standing says in words how an application is, the worst first. */
export function Standing({ of: h, most = 3 }: { of: AppHealth; most?: number }) {
  const all = reasons(h)
  return (
    <span class="row tight">
      {!troubled(h) && (h.rate > 0 ? <Badge tone="ok">{w('ok')}</Badge> : <Badge tone="idle">{w('quiet')}</Badge>)}
      {all.slice(0, most).map((r) => (
        <ReasonBadge key={r.key} reason={r} />
      ))}
    </span>
  )
}

/** Percent is a figure that is coloured where it is bad. */
export function Percent({ v, calls }: { v: number; calls: boolean }) {
  if (!calls) return <span class="muted">–</span>
  return <span class={v >= errorsBad ? 'bad-text' : v >= errorsWarn ? 'warn-text' : v === 0 ? 'muted' : undefined}>{format.percent(v)}</span>
}
