// Somebody else was there: what they wrote, beside what is written here.
import { useGet } from '~/api/query'
import * as format from '~/i18n/format'
import { parts, type Policy, type PolicyAnswer } from '~/policy/model'
import { words as pw } from '~/policy/words'
import { Button, Card, Notice } from '~/ui/basic'
import { Changes, Document } from '~/views/policies/doc'
import { words as w } from '~/views/policies/words'

interface Props {
  name: string
  /** The version that was begun on; undefined for a new one. */
  base: number | undefined
  theirs: PolicyAnswer
  mine: Policy | undefined
  /** Keep mine, over theirs. */
  over: () => void
  /** Take theirs instead. */
  take: () => void
}

export function ConflictCard({ name, base, theirs, mine, over, take }: Props) {
  const versions = useGet('/api/v1/policies/{namespace}/{name}/versions', { path: parts(name), query: { limit: 100 } }, { enabled: base !== undefined })
  const begun = base === undefined ? undefined : versions.data?.items?.find((v) => v.version === base)
  const title = base === undefined ? w('conflictNew', { kind: theirs.policy.kind === 'switch' ? pw('switch') : pw('policy'), name, version: theirs.version }) : w('conflict', { name, version: theirs.version })
  return (
    <Card
      title={title}
      actions={
        <>
          <Button onClick={take}>{base === undefined ? w('editTheirs') : w('takeTheirs')}</Button>
          <Button kind="danger" onClick={over}>
            {w('overTheirs')}
          </Button>
        </>
      }
    >
      <div class="stack">
        <Notice tone="warn" live>
          {w('conflictBy', { actor: theirs.actor, time: format.time(theirs.created), reason: theirs.reason })}
        </Notice>
        <div class="grid2">
          <div class="stack tight">
            <h3>{begun ? w('theirs', { from: begun.version, to: theirs.version }) : w('theirsNew')}</h3>
            {begun ? <Changes before={begun.policy} after={theirs.policy} /> : <Document policy={theirs.policy} />}
          </div>
          {mine && (
            <div class="stack tight">
              <h3>{w('yours')}</h3>
              <Changes before={theirs.policy} after={mine} />
            </div>
          )}
        </div>
      </div>
    </Card>
  )
}
