// Order and groups of the health grid.
import type { AppHealth } from '~/live/store'
import { calm, conditionOf, rankOf, type Condition } from '~/ui/condition'
import { matches } from '~/ui/field'

/** One application of the grid. */
export interface Tile {
  health: AppHealth
  condition: Condition
  namespace: string
  name: string
}

export interface Block {
  /** Empty where tiles are not grouped. */
  namespace: string
  tiles: Tile[]
  /** How many of them need somebody. */
  alarming: number
}

export interface Wish {
  order: 'worst' | 'name'
  grouped: boolean
  filter?: string
  only?: string
}

/** tilesOf makes a tile of each application. */
export function tilesOf(all: Iterable<AppHealth>): Tile[] {
  return [...all].map((health) => {
    const i = health.app.indexOf('/')
    return { health, condition: conditionOf(health), namespace: health.app.slice(0, i), name: health.app.slice(i + 1) }
  })
}

/**
 * byWorst orders by condition and then by name, not by figures: tiles that trade
 * places with every second cannot be read.
 */
export function byWorst(a: Tile, b: Tile): number {
  return rankOf(a.condition) - rankOf(b.condition) || byName(a, b)
}

export function byName(a: Tile, b: Tile): number {
  return a.health.app.localeCompare(b.health.app, undefined, { numeric: true })
}

/** blocksOf orders and groups tiles as wished. */
export function blocksOf(tiles: readonly Tile[], wish: Wish): Block[] {
  const shown = tiles.filter((t) => matches(wish.filter, t.health.app) && (!wish.only || t.condition === wish.only))
  const ordered = [...shown].sort(wish.order === 'name' ? byName : byWorst)
  const blocks = new Map<string, Block>()
  for (const t of ordered) {
    const namespace = wish.grouped ? t.namespace : ''
    let b = blocks.get(namespace)
    if (!b) blocks.set(namespace, (b = { namespace, tiles: [], alarming: 0 }))
    b.tiles.push(t)
    if (!calm(t.condition)) b.alarming++
  }
  const all = [...blocks.values()]
  // Ordered by the worst, a group stands where its worst tile does.
  return wish.order === 'name' ? all.sort((a, b) => a.namespace.localeCompare(b.namespace)) : all
}

/** countsOf is how many applications are in each condition, the worst first. */
export function countsOf(tiles: readonly Tile[]): [Condition, number][] {
  const n = new Map<Condition, number>()
  for (const t of tiles) n.set(t.condition, (n.get(t.condition) ?? 0) + 1)
  return [...n].sort(([a], [b]) => rankOf(a) - rankOf(b))
}

/** figuresOf are the figures of a small tile: two digits say enough, of small shares one, and more do not fit. */
export function figuresOf(h: AppHealth): { rate: number; errorPercent: number; p99Ms?: number; thousands: boolean } {
  const two = (v: number) => (v >= 10 ? Math.round(v) : Number(v.toPrecision(2)))
  const thousands = h.rate >= 1000
  return { rate: two(thousands ? h.rate / 1000 : h.rate), thousands, errorPercent: h.errorPercent >= 10 ? Math.round(h.errorPercent) : Number(h.errorPercent.toPrecision(1)), p99Ms: h.p99Ms === undefined ? undefined : two(h.p99Ms) }
}

/** With more tiles than these they have to be small for all to be seen at once, */
const most = 60
/** but not those of what is wrong, unless that is very much: those have to be read. */
const mostLarge = 30

/** sizesOf parts the tiles of a block, of so many in all, into large and small ones. By name they stay in one line, of one size. */
export function sizesOf(tiles: readonly Tile[], all: number, order: Wish['order']): { small: boolean; tiles: readonly Tile[] }[] {
  if (all <= most) return [{ small: false, tiles }]
  const large = order === 'name' ? [] : tiles.filter((t) => !calm(t.condition)).slice(0, mostLarge)
  const is = new Set(large)
  return [
    { small: false, tiles: large },
    { small: true, tiles: tiles.filter((t) => !is.has(t)) },
  ].filter((s) => s.tiles.length > 0)
}
