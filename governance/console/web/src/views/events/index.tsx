// Events: what happened to circuits, policies and instances, live on top.
import { useMemo } from 'preact/hooks'
import { useGet } from '~/api/query'
import { since, useAddress } from '~/app/address'
import { useRange } from '~/app/range'
import { words as common } from '~/app/words'
import { events as liveEvents } from '~/live/store'
import { Button, Card, Notice } from '~/ui/basic'
import { ParamInput } from '~/ui/field'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty, Loaded } from '~/ui/state'
import { kindWord, Line } from './line'
import { fits, grouped, kinds, kindsOf, merged } from './model'
import './events.css'
import { words as w } from './words'

const most = 1000
const page = 200

export default function Events() {
  const address = useAddress()
  const range = useRange('1h')
  const chosen = kindsOf(address.get('kind'))
  const conditions = { app: address.get('app'), instance: address.get('instance'), command: address.get('command'), kinds: chosen }
  const { app, instance, command } = conditions
  const query = useGet('/api/v1/events', { query: { ...since(range), app, instance, command, kind: chosen.length > 0 ? [chosen.join()] : undefined, limit: most } })
  const apps = useGet('/api/v1/apps', undefined, { staleTime: 60_000 })
  // Highest id at the moment of the pause: what is newer waits.
  const pausedAt = Number(address.get('until')) || undefined
  const setPausedAt = (id: number | undefined) => address.set({ until: id }, { replace: true })
  const shown = Math.max(page, Math.floor(Number(address.get('rows'))) || 0)

  const endsNow = range.name !== undefined
  const live = liveEvents.value
  const from = range.from * 1000
  const kindKey = chosen.join()
  const all = useMemo(() => {
    const c = { app, instance, command, kinds: kindsOf(kindKey) }
    const fresh = endsNow ? live.filter((e) => Date.parse(e.time) >= from && fits(e, c)) : []
    return merged(query.data?.items ?? [], fresh)
  }, [query.data, live, endsNow, from, app, instance, command, kindKey])
  const seen = useMemo(() => (pausedAt === undefined ? all : all.filter((e) => e.id <= pausedAt)), [all, pausedAt])
  const groups = useMemo(() => grouped(seen), [seen])
  const waiting = all.length - seen.length
  const any = app !== undefined || instance !== undefined || command !== undefined || chosen.length > 0
  const clear = () => address.set({ app: undefined, instance: undefined, command: undefined, kind: undefined })

  return (
    <Page
      title={w('title')}
      lead={w('lead')}
      actions={
        <>
          {endsNow &&
            (pausedAt === undefined ? (
              <Button onClick={() => setPausedAt(all.reduce((max, e) => Math.max(max, e.id), 0))}>{w('pause')}</Button>
            ) : (
              <Button kind="primary" onClick={() => setPausedAt(undefined)}>
                {w('resume')}
              </Button>
            ))}
          <RangePicker range={range} />
        </>
      }
    >
      <Card>
        <div class="filters">
          <ParamInput param="app" label={w('app')} placeholder={w('appHint')} options={(apps.data?.items ?? []).map((a) => a.app)} />
          <ParamInput param="command" label={w('command')} />
          <ParamInput param="instance" label={w('instance')} />
          <fieldset class="all kinds">
            <legend class="sr">{w('kinds')}</legend>
            {[...kinds, ...chosen.filter((k) => !(kinds as readonly string[]).includes(k))].map((k) => (
              <label key={k} class="check">
                <input
                  type="checkbox"
                  checked={chosen.includes(k)}
                  onChange={(e) => address.set({ kind: (e.currentTarget.checked ? [...chosen, k] : chosen.filter((x) => x !== k)).join() })}
                />
                {kindWord(k)}
              </label>
            ))}
            {any && (
              <Button small kind="plain" icon="close" onClick={clear}>
                {w('clear')}
              </Button>
            )}
          </fieldset>
        </div>
      </Card>
      {pausedAt !== undefined && (
        <Notice live action={waiting > 0 && <Button small onClick={() => setPausedAt(undefined)}>{w('resume')}</Button>}>
          {w('paused')}
          {waiting > 0 && ` · ${w('fresh', { n: waiting })}`}
        </Notice>
      )}
      <Loaded query={query}>
        {() =>
          groups.length === 0 ? (
            <Card>
              <Empty title={w('none')} icon="events" action={any && <Button onClick={clear}>{w('clear')}</Button>}>
                {w('noneHint')}
              </Empty>
            </Card>
          ) : (
            <Card flush>
              <ol class="events" aria-label={w('list')}>
                {groups.slice(0, shown).map((g) => (
                  <Line key={g.key} group={g} />
                ))}
              </ol>
              {groups.length > shown ? (
                <div class="state">
                  <Button onClick={() => address.set({ rows: shown + page }, { replace: true })}>{common('more', { n: Math.min(page, groups.length - shown) })}</Button>
                </div>
              ) : (
                (query.data?.items?.length ?? 0) >= most && <Cut from={range.from} oldest={seen[seen.length - 1]?.time} />
              )}
            </Card>
          )
        }
      </Loaded>
    </Page>
  )
}

/** Cut says that there is more, and leads to it. */
function Cut({ from, oldest }: { from: number; oldest: string | undefined }) {
  const address = useAddress()
  return (
    <div class="state">
      <p>{w('cut', { n: most })}</p>
      {oldest !== undefined && <Button onClick={() => address.set({ range: undefined, from: Math.round(from * 1000), to: Date.parse(oldest) + 1 })}>{w('older')}</Button>}
    </div>
  )
}
