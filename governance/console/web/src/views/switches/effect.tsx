import { Link } from 'wouter-preact'
import { appPath } from '~/app/address'
import * as format from '~/i18n/format'
import type { Confirmation, Target } from '~/policy/model'
import { refusedRate } from '~/views/switches/rates'
import { useCounted } from '~/views/switches/traffic'
import { words as w } from '~/views/switches/words'

/** Effect is how many calls a switch refuses at present. */
export function Effect({ target, confirmation }: { target: Target; confirmation: Confirmation | undefined }) {
  const counted = useCounted(target, confirmation)
  if (!counted) return <span class="muted">–</span>
  if (counted.length === 0) return <span class="muted">{w('effectNone')}</span>
  return (
    <Link class="num" title={w('effectHelp')} href={appPath(target.app, target.command ? { command: target.command } : {})}>
      {format.rate(refusedRate(counted))}
    </Link>
  )
}
