// The document that is being edited, and what its server says of it.
import { keepPreviousData, useQuery } from '@tanstack/preact-query'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Problem } from '~/api/client'
import { usePart } from '~/app/load'
import { lang } from '~/i18n'
import { fieldOf } from '~/views/routes/form'
import { t } from '~/views/routes/editwords'
import type { Route } from '~/views/routes/route'
import { planRoute, type Result } from '~/views/routes/write'
import { loadYaml, parse, type Draft, type Fault, type Yaml } from '~/views/routes/yaml'

/** useYaml loads the reader of YAML; an error says why it could not be. */
export function useYaml(): { yaml?: Yaml; error?: Error; retry: () => void } {
  const { part: yaml, error, retry } = usePart(loadYaml)
  return { yaml, error, retry }
}

/** ownWord words what this console finds wrong by itself. */
export function ownWord(code: 'notMapping' | 'tooLarge', value: string): string {
  return t(code, { value })
}

export function useDraft(yaml: Yaml | undefined, text: string): Draft | undefined {
  return useMemo(() => (yaml ? parse(yaml, text, ownWord) : undefined), [yaml, text, lang.value])
}

function useLate<T>(value: T, ms: number): T {
  const [late, setLate] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return late
}

export interface Rehearsal {
  /** What the write would do; of the document as it is now. */
  result?: Result
  error?: Problem
  /** What the server finds wrong, at its places. */
  faults: Fault[]
  busy: boolean
}

/** useRehearsal rehearses the write of a document shortly after it was last changed. */
export function useRehearsal(draft: Draft | undefined, expect: number | undefined): Rehearsal {
  const body = draft?.value === undefined ? undefined : JSON.stringify(draft.value)
  const late = useLate(body, 400)
  const query = useQuery<Result, Problem>({
    queryKey: ['/api/v1/routes:plan', 'draft', late, expect],
    enabled: late !== undefined && expect !== undefined,
    staleTime: 10_000,
    retry: false,
    placeholderData: keepPreviousData,
    queryFn: ({ signal }) => planRoute(JSON.parse(late ?? '{}') as Route, expect ?? 0, signal),
  })
  const current = body !== undefined && late === body && !query.isPlaceholderData
  const faults = useMemo(() => (current && draft ? faultsOf(draft, query.error ?? undefined) : []), [current, draft, query.error])
  return { result: current && !query.error ? query.data : undefined, error: current ? (query.error ?? undefined) : undefined, faults, busy: body !== undefined && (!current || query.isFetching) }
}

/** faultsOf finds the places of what a server says of a document's fields. */
export function faultsOf(draft: Draft, problem: Problem | undefined): Fault[] {
  return (problem?.errors ?? []).flatMap((e) => {
    if (!(e.location ?? '').startsWith('body')) return []
    const field = fieldOf(e.location)
    return [{ ...(draft.locate(field ?? '') ?? {}), field, message: e.message ?? '' }]
  })
}
