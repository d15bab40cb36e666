// The states that every view has: loading, empty, broken, stale.
import type { UseQueryResult } from '@tanstack/preact-query'
import type { ComponentChildren } from 'preact'
import { Problem } from '~/api/client'
import { LoadError } from '~/app/load'
import { words as w } from '~/app/words'
import * as format from '~/i18n/format'
import { Said } from '~/said'
import { Button, Notice } from '~/ui/basic'
import { Icon, type IconName } from '~/ui/icons'

export function Empty({ title, children, icon = 'info', action }: { title?: string; children?: ComponentChildren; icon?: IconName; action?: ComponentChildren }) {
  return (
    <div class="state">
      <Icon name={icon} size={22} />
      <strong>{title ?? w('none')}</strong>
      {children && <p>{children}</p>}
      {action}
    </div>
  )
}

export function Loading({ lines = 4 }: { lines?: number }) {
  return (
    <div class="stack tight" role="status" aria-label={w('loading')}>
      {Array.from({ length: lines }, (_, i) => (
        <span key={i} class="skeleton" style={{ width: `${92 - ((i * 17) % 40)}%` }} />
      ))}
    </div>
  )
}

/** Places lists what a problem says of single fields. */
export function Places({ problem }: { problem: Problem }) {
  if (problem.errors.length === 0) return null
  return (
    <ul>
      {problem.errors.map((e, i) => (
        <li key={i}>
          {e.location && <code>{e.location}</code>} <Said text={e.message} />
        </li>
      ))}
    </ul>
  )
}

export function ErrorBox({ error, retry }: { error: unknown; retry?: () => void }) {
  const p = error instanceof Problem ? error : new Problem(0, error instanceof LoadError ? error.detail : error instanceof Error ? error.message : String(error))
  return (
    <Notice tone="bad" live action={retry && p.status !== 403 && <Button small onClick={retry}>{w('retry')}</Button>}>
      {p.detail}
      <Places problem={p} />
    </Notice>
  )
}

interface LoadedProps<T> {
  query: UseQueryResult<T, Problem>
  children: (data: T) => ComponentChildren
  /** Whether there is nothing to show, and what is shown then. */
  isEmpty?: (data: T) => boolean
  empty?: ComponentChildren
  loading?: ComponentChildren
}

/** Loaded renders what a query answered, or why there is nothing yet; an old answer stays, marked as old. */
export function Loaded<T>({ query, children, isEmpty, empty, loading }: LoadedProps<T>) {
  const { data, error, dataUpdatedAt, refetch } = query
  if (data === undefined) {
    return error ? <ErrorBox error={error} retry={() => void refetch()} /> : <>{loading ?? <Loading />}</>
  }
  return (
    <>
      {error && (
        <Notice tone="warn" live action={<Button small onClick={() => void refetch()}>{w('retry')}</Button>}>
          {w('staleData', { time: format.time(dataUpdatedAt), why: error.detail ?? String(error) })}
        </Notice>
      )}
      {isEmpty?.(data) ? (empty ?? <Empty />) : children(data)}
    </>
  )
}
