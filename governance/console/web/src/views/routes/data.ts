// What the views on routes ask.
import { useQuery, type UseQueryResult } from '@tanstack/preact-query'
import { answer, api, type Problem } from '~/api/client'
import { useGet } from '~/api/query'
import type { Route, Version } from '~/views/routes/route'
import { planRoute, type Result } from '~/views/routes/write'
import { batches, type Checked, type RouteStatus } from '~/views/routes/status'

/** useStatus is how the routes are now; the live stream does not tell of traffic. */
export function useStatus(): UseQueryResult<{ items: RouteStatus[] }, Problem> {
  return useGet('/api/v1/route-status', { query: { window: '60s' } }, { every: 5_000 })
}

/** useChecked rehearses writing routes as they are, which tells of those that never match and of what they point to. */
export function useChecked(versions: readonly Version[] | undefined, revision: number | undefined): UseQueryResult<Checked, Problem> {
  return useQuery<Checked, Problem>({
    queryKey: ['/api/v1/routes:plan', revision, versions?.length],
    enabled: versions !== undefined && revision !== undefined,
    staleTime: 60_000,
    refetchInterval: 60_000,
    queryFn: async ({ signal }) => {
      const out: Checked = { findings: [], warnings: [], unfinished: false }
      for (const routes of batches((versions ?? []).filter((v) => !v.unreadable).map((v) => v.route))) {
        const r = await plan(routes, signal)
        out.findings.push(...(r.findings ?? []))
        out.warnings.push(...(r.warnings ?? []))
        out.unfinished ||= r.unfinished ?? false
      }
      // A part may tell of a route of another part, too.
      out.findings = [...new Map(out.findings.map((f) => [`${f.route.namespace}/${f.route.name} ${f.kind}`, f])).values()]
      return out
    },
  }) as UseQueryResult<Checked, Problem>
}

function plan(routes: Route[], signal: AbortSignal) {
  return answer(api.POST('/api/v1/routes:plan', { body: { items: routes.map((route) => ({ route })) }, signal }))
}

/** useRollbackPlan rehearses writing an earlier version again. */
export function useRollbackPlan(back: Version, expect: number): UseQueryResult<Result, Problem> {
  return useQuery<Result, Problem>({
    queryKey: ['/api/v1/routes:plan', 'back', `${back.route.namespace}/${back.route.name}`, back.revision, expect],
    staleTime: 0,
    retry: false,
    queryFn: ({ signal }) => planRoute(back.route, expect, signal),
  }) as UseQueryResult<Result, Problem>
}
