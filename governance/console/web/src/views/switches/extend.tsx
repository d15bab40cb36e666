import { useState } from 'preact/hooks'
import { answer, api, because, Problem } from '~/api/client'
import { refresh } from '~/api/query'
import * as format from '~/i18n/format'
import { keyOf, parts, type PolicyAnswer } from '~/policy/model'
import { serverNow, TargetText, Until } from '~/policy/parts'
import { ReasonDialog } from '~/ui/dialog'
import { toast } from '~/ui/toast'
import { Lasting } from '~/views/switches/lasting'
import { extended, lasts, type Preset } from '~/views/switches/pull'
import { words as w } from '~/views/switches/words'

/** ExtendDialog gives a switch another end, and leaves all else as it is. */
export function ExtendDialog({ item, onClose }: { item: PolicyAnswer; onClose: () => void }) {
  const [f, setF] = useState<{ preset: Preset; own: string }>({ preset: '30m', own: '' })
  const key = keyOf(item.policy)
  const ms = lasts(f)
  return (
    <ReasonDialog
      title={w('extendTitle', { name: key })}
      act={w('extend')}
      initial={item.reason}
      onClose={onClose}
      run={async (reason) => {
        if (Number.isNaN(ms)) throw new Problem(0, w('ownHint'))
        try {
          await answer(
            api.PUT('/api/v1/policies/{namespace}/{name}', {
              params: { path: parts(key), query: { allowUnknown: true }, header: { ...because(reason), 'If-Match': `"${item.version}"` } },
              body: extended(item.policy, ms, serverNow()),
            }),
          )
        } catch (err) {
          if (err instanceof Problem && err.status === 412) throw new Problem(0, w('extendChanged'))
          throw err
        }
        toast(w('extended', { name: key }))
        refresh('/api/v1/switches', '/api/v1/policies')
      }}
    >
      <p>
        <TargetText target={item.policy.target} />
      </p>
      <p>
        {w('releases')}: <Until expires={item.policy.expires} />
        {item.policy.expires && <span class="muted"> · {format.time(item.policy.expires)}</span>}
      </p>
      <Lasting value={f} set={setF} />
      <p class="muted">{w('extendHint')}</p>
    </ReasonDialog>
  )
}
