// Every address of the console that shows something, with objects that are there.
import type { APIRequestContext } from '@playwright/test'
import { failing, json, kept } from './support'

interface Listed {
  items: { traceId?: string; policy?: { namespace: string; name: string }; route?: { namespace: string; name: string }; namespace?: string; name?: string }[]
}

export interface Place {
  /** What it is called in test reports and file names. */
  name: string
  path: string
}

/** The views that need no object. */
export const fixed: Place[] = [
  { name: 'overview', path: '/' },
  { name: 'topology', path: '/topology' },
  { name: 'apps', path: '/apps' },
  { name: 'traces', path: '/traces' },
  { name: 'switches', path: '/switches' },
  { name: 'policies', path: '/policies' },
  { name: 'policy-new', path: '/policies/new' },
  { name: 'routes', path: '/routes' },
  { name: 'route-new', path: '/routes/new' },
  { name: 'route-explain', path: '/routes/explain' },
  { name: 'registry', path: '/registry' },
  { name: 'events', path: '/events' },
  { name: 'audit', path: '/audit' },
  { name: 'people', path: '/people' },
  { name: 'system', path: '/system' },
  { name: 'nowhere', path: '/nowhere' },
]

/** ofObjects are the views of one object, each of one that is there. */
export async function ofObjects(api: APIRequestContext): Promise<Place[]> {
  const places: Place[] = []
  const app = `/apps/${failing.app}`
  for (const tab of ['commands', 'instances', 'policies', 'events', 'explain']) places.push({ name: `app-${tab}`, path: `${app}?tab=${tab}` })
  places.push({ name: 'app-command', path: `${app}?tab=commands&command=${failing.command}&at=provider` })
  places.push({ name: 'registry-one', path: `/registry/${failing.app}` })
  if (kept) places.push({ name: 'registry-kept', path: `/registry/${kept}` })
  const policy = (await json<Listed>(api, '/api/v1/policies')).items[0]?.policy
  if (policy) {
    const path = `/policies/${policy.namespace}/${policy.name}`
    places.push({ name: 'policy', path }, { name: 'policy-edit', path: `${path}/edit` })
  }
  const route = (await json<Listed>(api, '/api/v1/routes')).items[0]?.route
  if (route) {
    const path = `/routes/${route.namespace}/${route.name}`
    for (const tab of ['now', 'document', 'history']) places.push({ name: tab === 'now' ? 'route' : `route-${tab}`, path: `${path}?tab=${tab}` })
    places.push({ name: 'route-edit', path: `${path}/edit` })
  }
  const trace = (await json<Listed>(api, '/api/v1/traces?limit=1')).items[0]
  if (trace?.traceId) places.push({ name: 'trace', path: `/traces/${trace.traceId}` }, { name: 'trace-statistics', path: `/traces/${trace.traceId}?tab=statistics` })
  return places
}
