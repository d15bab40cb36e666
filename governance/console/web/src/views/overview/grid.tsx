// The health grid: every application as a small tile.
import { memo } from 'preact/compat'
import { useMemo } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { appPath, useAddress } from '~/app/address'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { health } from '~/live/store'
import { heard, liveState } from '~/live/stream'
import { clock } from '~/app/clock'
import { Button, Card, Notice } from '~/ui/basic'
import { conditionLook } from '~/ui/condition'
import { conditionWord } from '~/ui/conditionbadge'
import { FilterInput } from '~/ui/field'
import { Icon } from '~/ui/icons'
import { Empty, ErrorBox, Loading } from '~/ui/state'
import { sayTile } from './attention'
import { blocksOf, countsOf, figuresOf, sizesOf, tilesOf, type Tile } from './tiles'
import { words as w } from './words'

/** Where Weir's own parts are, which are there before any application. */
const ownNamespace = 'weir-system'

const TileLink = memo(
  function TileLink({ tile, short, small }: { tile: Tile; short: boolean; small: boolean }) {
    const { health: h, condition } = tile
    const { tone, icon } = conditionLook[condition]
    const f = small ? figuresOf(h) : { ...h, thousands: false }
    return (
      <Link href={appPath(h.app)} class={`tile ${tone}`} title={sayTile(h.app, condition, h)}>
        {small ? (
          <span class="name">
            <Icon name={icon} size={11} />
            {!short && <span class="ns">{tile.namespace}/</span>}
            <span class="cut">{tile.name}</span>
          </span>
        ) : (
          <>
            <span class="head">
              <Icon name={icon} size={11} />
              <span class="how">{conditionWord(condition)}</span>
              {!short && <span class="ns cut">{tile.namespace}</span>}
            </span>
            <span class="name cut">{tile.name}</span>
          </>
        )}
        <span class="figures">
          <span>{format.rate(f.rate).replace('/s', f.thousands ? 'k/s' : '/s')}</span>
          <span class={h.errorPercent > 0 ? 'some' : ''}>{format.percent(f.errorPercent)}</span>
          <span>{format.ms(f.p99Ms)}</span>
        </span>
        {small && <span class="how">{conditionWord(condition)}</span>}
      </Link>
    )
  },
  (a, b) => a.short === b.short && a.small === b.small && a.tile.health === b.tile.health,
)

export function HealthGrid() {
  const address = useAddress()
  const live = health.value
  const state = liveState.value
  // Until the stream has told something, and while it cannot be had, the same is asked for.
  const asked = useGet('/api/v1/health', undefined, { enabled: live.size === 0 && state !== 'live', every: 10_000 })
  const items = live.size > 0 || state === 'live' ? live.values() : asked.data?.items
  const source = live.size > 0 || state === 'live' ? live : asked.data
  const tiles = useMemo(() => (items ? tilesOf(items) : undefined), [source])

  const order = address.get('order') === 'name' ? 'name' : 'worst'
  const grouped = address.get('group') === 'true'
  const [filter, only] = [address.get('q'), address.get('state')]
  const blocks = useMemo(() => blocksOf(tiles ?? [], { order, grouped, filter, only }), [tiles, order, grouped, filter, only])
  const counts = useMemo(() => countsOf(tiles ?? []), [tiles])
  // In one namespace its name says nothing.
  const short = useMemo(() => grouped || new Set((tiles ?? []).map((t) => t.namespace)).size < 2, [tiles, grouped])
  const shown = blocks.reduce((n, b) => n + b.tiles.length, 0)
  const stale = state === 'stale' && live.size > 0

  return (
    <Card
      title={w('health')}
      actions={
        <>
          <div class="segmented" role="group" aria-label={w('order')}>
            <Button small aria-pressed={order === 'worst'} onClick={() => address.set({ order: undefined }, { replace: true })}>
              {w('orderWorst')}
            </Button>
            <Button small aria-pressed={order === 'name'} onClick={() => address.set({ order: 'name' }, { replace: true })}>
              {w('orderName')}
            </Button>
          </div>
          <Button small aria-pressed={grouped} onClick={() => address.set({ group: !grouped }, { replace: true })}>
            {w('group')}
          </Button>
        </>
      }
    >
      {tiles === undefined ? (
        asked.error ? (
          <ErrorBox error={asked.error} retry={() => void asked.refetch()} />
        ) : (
          <Loading />
        )
      ) : tiles.length === 0 ? (
        <Empty title={w('noApps')} icon="apps">
          {w('noAppsHint')}
        </Empty>
      ) : (
        <div class="stack tight">
          {stale && (
            <Notice tone="warn" live>
              <Silence />
            </Notice>
          )}
          {source === asked.data && asked.data?.cut && <Notice tone="warn">{shared('cut')}</Notice>}
          <div class="row tight">
            <FilterInput />
            <Button small aria-pressed={only === undefined} onClick={() => address.set({ state: undefined }, { replace: true })}>
              {w('all', { n: tiles.length })}
            </Button>
            {counts.map(([c, n]) => (
              <Button key={c} small class={`count ${conditionLook[c].tone}`} icon={conditionLook[c].icon} aria-pressed={only === c} onClick={() => address.set({ state: only === c ? undefined : c }, { replace: true })}>
                {n} {conditionWord(c)}
              </Button>
            ))}
            <span class="muted push">{w('healthLead')}</span>
          </div>
          {shown === 0 && (
            <Empty title={w('noMatch')} action={<Button onClick={() => address.set({ q: undefined, state: undefined })}>{w('clear')}</Button>} />
          )}
          {tiles.every((t) => t.namespace === ownNamespace) && (
            <Empty title={w('noneYet')} icon="apps">
              {w('noAppsHint')}
            </Empty>
          )}
          {blocks.map((b) => (
            <section key={b.namespace} class={stale ? 'old' : undefined}>
              {grouped && (
                <h3 class="blockname">
                  {b.namespace} <span class="muted">{b.alarming > 0 ? w('alarming', { n: b.alarming, of: b.tiles.length }) : b.tiles.length}</span>
                </h3>
              )}
              {sizesOf(b.tiles, shown, order).map(({ small, tiles: some }) => (
                <ul key={String(small)} class={`tiles ${small ? 'dense' : ''}`} aria-label={b.namespace || w('health')}>
                  {some.map((t) => (
                    <li key={t.health.app}>
                      <TileLink tile={t} short={short} small={small} />
                    </li>
                  ))}
                </ul>
              ))}
            </section>
          ))}
        </div>
      )}
    </Card>
  )
}

/** Silence counts on by itself, so that the grid does not render each second. */
function Silence() {
  return <>{w('stale', { age: format.span((clock.value - heard.value) / 1000), time: format.time(heard.value) })}</>
}

