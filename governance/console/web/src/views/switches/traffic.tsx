import { useQueries } from '@tanstack/preact-query'
import { getQuery } from '~/api/query'
import * as format from '~/i18n/format'
import { appsOf } from '~/policy/confirm'
import { parts, type Confirmation, type Target } from '~/policy/model'
import { about, present, traffic } from '~/views/switches/rates'
import { words as w } from '~/views/switches/words'

/** useCounted are the commands that a target is about, as the applications that enforce it counted them of late; undefined while that is not known. */
export function useCounted(target: Target, confirmation: Confirmation | undefined) {
  const apps = target.at === 'caller' ? appsOf(confirmation) : [target.app]
  const totals = useQueries({
    queries: apps.map((app) => ({ ...getQuery('/api/v1/apps/{namespace}/{name}/commands', { path: parts(app), query: present }), refetchInterval: 5_000 })),
  })
  if (totals.some((t) => t.data === undefined)) return undefined
  return totals.flatMap((t) => t.data?.items ?? []).filter((c) => about(target, c))
}

/** Traffic says how many calls a switch would refuse. */
export function Traffic({ target, confirmation }: { target: Target; confirmation: Confirmation | undefined }) {
  const counted = useCounted(target, confirmation)
  if (!counted || counted.length === 0) return null
  const now = traffic(counted)
  return <p>{w('traffic', { rate: format.rate(now.rate), errors: format.percent(now.errorPercent) })}</p>
}
