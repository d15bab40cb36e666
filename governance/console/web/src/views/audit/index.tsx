// Audit: every write and every attempt at one.
import { Link } from 'wouter-preact'
import type { Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { rangeQuery, useAddress } from '~/app/address'
import { useRange } from '~/app/range'
import { Said, say } from '~/said'
import { Badge, Button, Card, type Tone } from '~/ui/basic'
import { Field, ParamInput } from '~/ui/field'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Time } from '~/ui/time'
import './audit.css'
import { endingOf, thingOf, whoOf, type Ending } from './model'
import { actions, actionWord, whoWord, words as w } from './words'

type Entry = Schemas['AccessEntry']

const tones: Record<Ending, Tone> = { done: 'ok', open: 'idle', failed: 'bad', denied: 'warn', other: 'idle' }

function Outcome({ outcome }: { outcome: string }) {
  const { ending, text } = endingOf(outcome)
  return (
    <span class="outcome">
      <Badge tone={tones[ending]} title={ending === 'open' ? w('openHint') : undefined}>
        {w(ending)}
      </Badge>
      {text && <span class="text"><Said text={text} /></span>}
    </span>
  )
}

function Thing({ entry }: { entry: Entry }) {
  const t = thingOf(entry.object, entry.revision)
  return (
    <span class="row tight">
      {t.rehearsed && <Badge icon={false}>{w('rehearsed')}</Badge>}
      {t.to ? <Link href={t.to}>{say(t.text)}</Link> : <span>{say(t.text)}</span>}
    </span>
  )
}

function Who({ principal }: { principal: string }) {
  const address = useAddress()
  const { kind, name } = whoOf(principal)
  return (
    <span title={principal}>
      <Link href={address.with({ principal, before: undefined })}>{name || '–'}</Link> {kind && kind !== 'user' && <span class="muted">{whoWord(kind)}</span>}
    </span>
  )
}

export default function Audit() {
  const address = useAddress()
  const range = useRange('24h')
  const [principal, action, object] = [address.get('principal'), address.get('action'), address.get('object')]
  const before = Number(address.get('before')) || undefined
  const newest = before === undefined && range.name !== undefined
  const query = useGet('/api/v1/audit', { query: { ...rangeQuery(range), principal, action, object, before, limit: 100 } }, { every: newest ? 10_000 : false })
  const any = principal !== undefined || action !== undefined || object !== undefined
  const clear = () => address.set({ principal: undefined, action: undefined, object: undefined, before: undefined })
  const items = query.data?.items ?? []
  const offered = action && !(actions as readonly string[]).includes(action) ? [...actions, action] : actions

  const columns: Column<Entry>[] = [
    { key: 'time', label: w('time'), cell: (e) => <Time at={e.time} /> },
    { key: 'who', label: w('who'), cell: (e) => <Who principal={e.principal} /> },
    { key: 'what', label: w('what'), cell: (e) => <span title={e.action}>{actionWord(e.action)}</span> },
    { key: 'object', label: w('object'), cell: (e) => <Thing entry={e} />, class: 'name' },
    { key: 'outcome', label: w('outcome'), cell: (e) => <Outcome outcome={e.outcome} />, class: 'name' },
    { key: 'reason', label: w('reason'), cell: (e) => e.reason || '–', class: 'name' },
    { key: 'remote', label: w('remote'), cell: (e) => <span class="mono">{e.remote || '–'}</span> },
    { key: 'revision', label: w('revision'), cell: (e) => (e.revision ? String(e.revision) : '–'), end: true },
  ]

  return (
    <Page title={w('title')} lead={w('lead')} actions={<RangePicker range={range} />}>
      <Card>
        <div class="filters">
          <ParamInput param="principal" label={w('who')} placeholder={w('principalHint')} options={[...new Set(items.map((e) => e.principal))]} drop={['before']} />
          <Field label={w('what')}>
            {(f) => (
              <select {...f} class="select" value={action ?? ''} onChange={(e) => address.set({ action: e.currentTarget.value, before: undefined })}>
                <option value="">{w('anything')}</option>
                {offered.map((a) => (
                  <option key={a} value={a}>
                    {actionWord(a)}
                  </option>
                ))}
              </select>
            )}
          </Field>
          <ParamInput param="object" label={w('object')} placeholder={w('objectHint')} drop={['before']} />
          {any && (
            <div>
              <Button kind="plain" icon="close" onClick={clear}>
                {w('clear')}
              </Button>
            </div>
          )}
        </div>
      </Card>
      <Card flush>
        <Loaded
          query={query}
          isEmpty={(d) => d.items.length === 0}
          empty={
            <Empty title={w('none')} icon="audit" action={any && <Button onClick={clear}>{w('clear')}</Button>}>
              {w('noneHint')}
            </Empty>
          }
        >
          {(d) => (
            <div class="audit">
              <Table label={w('table')} columns={columns} rows={d.items} rowKey={(e) => String(e.id)} />
            </div>
          )}
        </Loaded>
        {(before !== undefined || (query.data?.next ?? 0) > 0) && (
          <nav class="pager" aria-label={w('table')}>
            {before !== undefined && (
              <Link class="btn" href={address.with({ before: undefined })}>
                {w('newest')}
              </Link>
            )}
            {(query.data?.next ?? 0) > 0 && (
              <Link class="btn" href={address.with({ before: query.data?.next })}>
                {w('older')}
              </Link>
            )}
          </nav>
        )}
      </Card>
    </Page>
  )
}
