// Tables: sorted and as long as the address says, so that both can be shared, and stacked into
// small cards on a phone.
import type { ComponentChildren, VNode } from 'preact'
import { memo } from 'preact/compat'
import { useMemo } from 'preact/hooks'
import { useAddress } from '~/app/address'
import { words as w } from '~/app/words'
import { lang, type Lang } from '~/i18n'
import { Button } from '~/ui/basic'
import { Icon } from '~/ui/icons'

export interface Column<T> {
  key: string
  label: ComponentChildren
  /** The label as text, where it is none. */
  text?: string
  cell: (row: T) => ComponentChildren
  /** What it is sorted by; a column without is not. undefined comes last. */
  sort?: (row: T) => string | number | undefined
  /** Figures stand at the end. */
  end?: boolean
  class?: string
}

export interface TableProps<T> {
  label: string
  columns: Column<T>[]
  rows: readonly T[]
  rowKey: (row: T) => string
  /** Column and direction where nobody chose: "rate" or "-rate" for the highest first. */
  order?: string
  /** Name of the parameter that keeps the order; two tables of a view need two. */
  param?: string
  selected?: (row: T) => boolean
  /** How many rows are shown at first. */
  limit?: number
  empty?: ComponentChildren
}

/** sorted orders rows by a column; "-" before its key turns it round. */
export function sorted<T>(rows: readonly T[], columns: Column<T>[], order: string | undefined): T[] {
  if (!order) return [...rows]
  const down = order.startsWith('-')
  const column = columns.find((c) => c.key === (down ? order.slice(1) : order))
  const by = column?.sort
  if (!by) return [...rows]
  const sign = down ? -1 : 1
  return rows
    .map((row, i) => ({ row, i, v: by(row) }))
    .sort((a, b) => {
      if (a.v === undefined || b.v === undefined) return a.v === b.v ? a.i - b.i : a.v === undefined ? 1 : -1
      const c = typeof a.v === 'string' && typeof b.v === 'string' ? a.v.localeCompare(b.v, undefined, { numeric: true }) : Number(a.v) - Number(b.v)
      return c === 0 || Number.isNaN(c) ? a.i - b.i : sign * c
    })
    .map((x) => x.row)
}

/** rowsParam is the parameter that keeps how many rows of a table are shown, by the one that keeps its order. */
export function rowsParam(param: string): string {
  return param === 'sort' ? 'rows' : `${param}-rows`
}

export function Table<T>({ label, columns, rows, rowKey, order, param = 'sort', selected, limit = 200, empty }: TableProps<T>) {
  const address = useAddress()
  const by = address.get(param) ?? order
  const rowsIn = rowsParam(param)
  const shown = Math.max(limit, Math.floor(Number(address.get(rowsIn))) || 0)
  const all = useMemo(() => sorted(rows, columns, by), [rows, columns, by])
  if (rows.length === 0 && empty !== undefined) return <>{empty}</>
  return (
    <div class="table-wrap" tabIndex={-1}>
      <table class="table stacks" aria-label={label}>
        <thead>
          <tr>
            {columns.map((c) => (
              <Head key={c.key} column={c} by={by} set={(v) => address.set({ [param]: v }, { replace: true })} />
            ))}
          </tr>
        </thead>
        <tbody>
          {all.slice(0, shown).map((row) => (
            <Row key={rowKey(row)} row={row} columns={columns} is={selected?.(row) ?? false} language={lang.value} />
          ))}
        </tbody>
      </table>
      {all.length > shown && (
        <div class="state">
          <Button onClick={() => address.set({ [rowsIn]: shown + limit }, { replace: true })}>{w('more', { n: Math.min(limit, all.length - shown) })}</Button>
        </div>
      )}
    </div>
  )
}

interface RowProps<T> {
  row: T
  columns: Column<T>[]
  is: boolean
  /** Cells are texts of a language. */
  language: Lang
}

// A row whose data and columns are those of before is not drawn again: of many
// rows that are kept up to date, few change at a time.
const Row = memo(function Row<T>({ row, columns, is }: RowProps<T>) {
  return (
    <tr class={is ? 'selected' : undefined} aria-current={is ? 'true' : undefined}>
      {columns.map((c) => (
        <td key={c.key} class={`${c.end ? 'end' : ''} ${c.class ?? ''}`} data-label={c.text ?? (typeof c.label === 'string' ? c.label : '')}>
          {c.cell(row)}
        </td>
      ))}
    </tr>
  )
}) as <T>(props: RowProps<T>) => VNode

function Head<T>({ column: c, by, set }: { column: Column<T>; by: string | undefined; set: (order: string) => void }) {
  const up = by === c.key
  const down = by === `-${c.key}`
  const text = c.text ?? (typeof c.label === 'string' ? c.label : c.key)
  return (
    <th scope="col" class={`${c.end ? 'end' : ''} ${c.class ?? ''}`} aria-sort={up ? 'ascending' : down ? 'descending' : undefined}>
      {c.sort ? (
        <button type="button" onClick={() => set(down ? c.key : up ? `-${c.key}` : c.end ? `-${c.key}` : c.key)} title={w('sortBy', { name: text })}>
          {c.label}
          {(up || down) && <Icon name={up ? 'up' : 'down'} size={10} />}
        </button>
      ) : (
        // A column of buttons has no title to see, and needs one to hear.
        c.label || <span class="sr">{w('actions')}</span>
      )}
    </th>
  )
}
