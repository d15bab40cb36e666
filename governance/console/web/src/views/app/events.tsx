// What happened to one application, in the lines of the list of all events.
import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { link, since, type Range } from '~/app/address'
import { events as live } from '~/live/store'
import { Card } from '~/ui/basic'
import { Empty, Loaded } from '~/ui/state'
import '~/views/events/events.css'
import { Line } from '~/views/events/line'
import { fits, grouped, merged } from '~/views/events/model'
import { words as w } from './words'

export function Events({ app, range }: { app: string; range: Range }) {
  const query = useGet('/api/v1/events', { query: { ...since(range), app, limit: 500 } })
  const now = range.name === undefined ? undefined : live.value
  const groups = useMemo(
    () => grouped(merged(query.data?.items ?? [], (now ?? []).filter((e) => fits(e, { app, kinds: [] }) && Date.parse(e.time) / 1000 >= range.from))),
    [query.data, now, app, range.from],
  )
  return (
    <Loaded query={query} isEmpty={() => groups.length === 0} empty={<Empty icon="events" title={w('noEvents')} />}>
      {() => (
        <Card flush title={w('events')} actions={<Link class="btn small" href={link('/events', { app, range: range.name, from: range.name ? undefined : range.from * 1000, to: range.name ? undefined : range.to * 1000 })}>{w('allEvents')}</Link>}>
          <ol class="events" aria-label={w('events')}>
            {groups.map((g) => (
              <Line key={g.key} group={g} />
            ))}
          </ol>
        </Card>
      )}
    </Loaded>
  )
}
