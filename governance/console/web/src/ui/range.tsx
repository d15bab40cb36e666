import { useState } from 'preact/hooks'
import { ranges, useAddress, type Range } from '~/app/address'
import { words as w } from '~/app/words'
import * as format from '~/i18n/format'
import { Button } from '~/ui/basic'
import { Field } from '~/ui/field'
import { Menu } from '~/ui/menu'

const names = { '15m': 'range15m', '1h': 'range1h', '6h': 'range6h', '24h': 'range24h', '7d': 'range7d' } as const

/** rangeText names a time range, as its picker and the captions of what it governs do. */
export function rangeText(range: Range): string {
  return range.name ? w(names[range.name]) : w('rangeFixed', { from: format.time(range.from * 1000), to: format.time(range.to * 1000) })
}

/** RangePicker chooses the time range of a view; it stands in the address. */
export function RangePicker({ range }: { range: Range }) {
  const address = useAddress()
  const text = rangeText(range)
  return (
    <div class="row tight">
      {!range.name && (
        <Button small kind="plain" icon="undo" onClick={() => address.set({ from: undefined, to: undefined })}>
          {w('backToLive')}
        </Button>
      )}
      <Menu label={w('range')} text={text} icon="clock">
        {(close) => (
          <>
            {(Object.keys(ranges) as (keyof typeof ranges)[]).map((n) => (
              <button
                key={n}
                type="button"
                aria-current={n === range.name ? 'true' : undefined}
                onClick={() => {
                  address.set({ range: n, from: undefined, to: undefined })
                  close()
                }}
              >
                {w(names[n])}
              </button>
            ))}
            <Own range={range} close={close} />
          </>
        )}
      </Menu>
    </div>
  )
}

function Own({ range, close }: { range: Range; close: () => void }) {
  const address = useAddress()
  const [from, setFrom] = useState(local(range.from))
  const [to, setTo] = useState(local(range.to))
  const ok = Date.parse(from) < Date.parse(to)
  return (
    <form
      class="stack tight range-own"
      onSubmit={(e) => {
        e.preventDefault()
        if (!ok) return
        address.set({ range: undefined, from: Date.parse(from), to: Date.parse(to) })
        close()
      }}
    >
      <Field label={w('from')}>{(f) => <input {...f} class="input" type="datetime-local" step="1" value={from} onInput={(e) => setFrom(e.currentTarget.value)} />}</Field>
      <Field label={w('to')}>{(f) => <input {...f} class="input" type="datetime-local" step="1" value={to} onInput={(e) => setTo(e.currentTarget.value)} />}</Field>
      <Button type="submit" disabled={!ok}>
        {w('apply')}
      </Button>
    </form>
  )
}

function local(seconds: number): string {
  const d = new Date(seconds * 1000)
  return new Date(d.getTime() - d.getTimezoneOffset() * 60_000).toISOString().slice(0, 19)
}
