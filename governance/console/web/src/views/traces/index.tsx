import { useCallback, useMemo, useState } from 'preact/hooks'
import { Problem } from '~/api/client'
import { useGet } from '~/api/query'
import { parseRange, ranges, useAddress, type RangeName } from '~/app/address'
import * as format from '~/i18n/format'
import { say } from '~/said'
import { Button, Notice } from '~/ui/basic'
import { Page } from '~/ui/page'
import { RangePicker } from '~/ui/range'
import { Empty, ErrorBox, Loading } from '~/ui/state'
import { Form } from './form'
import { Item, ordered, orders, type Order } from './list'
import { Plot } from './plot'
import { idOf, toQuery, wantedOf } from './search'
import { words as w } from './words'
import './traces.css'

export default function Traces() {
  const address = useAddress()
  // A search is of the moment at which it was asked: a list that is read does not move.
  const [asked, setAsked] = useState(() => Date.now() / 1000)
  const wanted = useMemo(() => wantedOf(address.get), [address])
  const range = useMemo(() => parseRange(address.get, asked), [address, asked])
  const question = toQuery(wanted, range)
  const found = useGet('/api/v1/traces', { query: question }, { staleTime: Infinity, retry: false })
  const [hot, setHot] = useState<string>()
  const hover = useCallback(setHot, [])
  const order = orders.find((o) => o === address.get('sort')) ?? 'newest'
  const again = () => {
    const now = Date.now() / 1000
    if (range.name && now - asked > 1) setAsked(now)
    else void found.refetch()
  }
  const data = found.data
  const items = useMemo(() => ordered(data?.items ?? [], order), [data, order])
  const longest = useMemo(() => items.reduce((m, t) => Math.max(m, t.duration), 0), [items])
  // Where as many were found as were wanted, nothing is known of the time before the oldest.
  const looked = useMemo(() => (items.length >= wanted.limit ? { ...range, from: items.reduce((m, t) => Math.min(m, t.start / 1e6), range.to) } : range), [items, range, wanted])
  const lost = found.error && !found.isFetching
  return (
    <Page
      title={w('title')}
      lead={w('lead')}
      actions={
        <>
          <ById />
          <RangePicker range={range} />
        </>
      }
    >
      <Form wanted={wanted} search={again} busy={found.isFetching} />
      {lost ? (
        <Failed error={found.error} retry={again} />
      ) : !data ? (
        <Loading lines={8} />
      ) : (
        <div class={`stack ${found.isPlaceholderData ? 'trace-older' : ''}`} aria-busy={found.isFetching}>
          {data.cut && <Notice tone="warn">{w('cut', { why: say(data.cut) })}</Notice>}
          {items.length === 0 ? (
            <Nothing from={range.from} to={range.to} name={range.name} app={wanted.app !== '' || wanted.command !== ''} />
          ) : (
            <>
              <Plot traces={items} range={looked} hot={hot} setHot={hover} />
              <section class="card" aria-labelledby="traces-found">
                <header>
                  <h2 id="traces-found">{w('found', { n: items.length })}</h2>
                  <span class="muted">
                    {items.length >= wanted.limit && `${w('atMost', { n: wanted.limit })} `}
                    {w('asOf', { time: format.time(found.dataUpdatedAt) })}
                  </span>
                  <div class="row tight push">
                    <Button small icon="undo" onClick={again}>
                      {w('refresh')}
                    </Button>
                    <select class="select trace-order" aria-label={w('order')} value={order} onChange={(e) => address.set({ sort: e.currentTarget.value === 'newest' ? undefined : (e.currentTarget.value as Order) }, { replace: true })}>
                      {orders.map((o) => (
                        <option key={o} value={o}>
                          {w(o)}
                        </option>
                      ))}
                    </select>
                  </div>
                </header>
                <ul class="trace-list" aria-label={w('list')}>
                  {items.map((t) => (
                    <Item key={t.traceId} trace={t} longest={longest} hot={t.traceId === hot} setHot={hover} />
                  ))}
                </ul>
              </section>
            </>
          )}
        </div>
      )}
    </Page>
  )
}

function Failed({ error, retry }: { error: Problem; retry: () => void }) {
  if (error.late) {
    return (
      <Empty title={w('slow')} icon="clock" action={<Button onClick={retry}>{w('refresh')}</Button>}>
        {error.detail} {w('slowHint')}
      </Empty>
    )
  }
  if (error.status === 403) {
    return (
      <Empty title={w('forbidden')} icon="lock">
        {error.detail}
      </Empty>
    )
  }
  return <ErrorBox error={error} retry={retry} />
}

function Nothing({ from, to, name, app }: { from: number; to: number; name?: RangeName; app: boolean }) {
  const address = useAddress()
  const names = Object.keys(ranges) as RangeName[]
  const longer = names.find((n) => ranges[n] > to - from && n !== name && ranges[n] >= 3600)
  return (
    <Empty
      title={w('none')}
      icon="search"
      action={
        longer && (
          <Button onClick={() => address.set({ range: longer, from: undefined, to: undefined })}>{w('longer', { range: format.span(ranges[longer]) })}</Button>
        )
      }
    >
      {w('noneHint', { from: format.time(from * 1000), to: format.time(to * 1000) })} {app && w('noneApp')}
    </Empty>
  )
}

/** ById opens a trace whose id is known. */
function ById() {
  const address = useAddress()
  const [text, setText] = useState('')
  const [wrong, setWrong] = useState(false)
  return (
    <form
      class="row tight trace-by-id"
      onSubmit={(e) => {
        e.preventDefault()
        const id = idOf(text)
        if (id) address.go(`/traces/${id}`)
        else setWrong(true)
      }}
    >
      <input
        class="input trace-id"
        aria-label={w('byId')}
        placeholder={w('byId')}
        aria-invalid={wrong || undefined}
        aria-describedby={wrong ? 'trace-id-wrong' : undefined}
        value={text}
        spellcheck={false}
        onInput={(e) => {
          setText(e.currentTarget.value)
          setWrong(false)
        }}
      />
      <Button type="submit">
        {w('open')}
      </Button>
      {wrong && (
        <span id="trace-id-wrong" role="alert" class="bad-text trace-id-wrong">
          {w('badId')}
        </span>
      )}
    </form>
  )
}
