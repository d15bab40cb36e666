// Every view with its address. Views are loaded when they are first shown, so
// that the first one is there quickly.
import { later } from '~/app/load'
import type { words } from '~/app/words'
import type { IconName } from '~/ui/icons'

type Word = Parameters<typeof words>[0]
export interface ViewProps {
  params: Record<string, string | undefined>
}
/** Views by path; the first that matches is shown. */
export const views = [
  { path: '/', Show: later<ViewProps>(() => import('~/views/overview')) },
  { path: '/topology', Show: later<ViewProps>(() => import('~/views/topology')) },
  { path: '/apps', Show: later<ViewProps>(() => import('~/views/apps')) },
  { path: '/apps/:ns/:name', Show: later<ViewProps>(() => import('~/views/app')) },
  { path: '/traces', Show: later<ViewProps>(() => import('~/views/traces')) },
  { path: '/traces/:id', Show: later<ViewProps>(() => import('~/views/trace')) },
  { path: '/switches', Show: later<ViewProps>(() => import('~/views/switches')) },
  { path: '/policies', Show: later<ViewProps>(() => import('~/views/policies')) },
  { path: '/policies/new', Show: later<ViewProps>(() => import('~/views/policies/edit')) },
  { path: '/policies/:ns/:name', Show: later<ViewProps>(() => import('~/views/policies/one')) },
  { path: '/policies/:ns/:name/edit', Show: later<ViewProps>(() => import('~/views/policies/edit')) },
  { path: '/routes', Show: later<ViewProps>(() => import('~/views/routes')) },
  { path: '/routes/new', Show: later<ViewProps>(() => import('~/views/routes/edit')) },
  { path: '/routes/explain', Show: later<ViewProps>(() => import('~/views/routes/explain')) },
  { path: '/routes/:ns/:name', Show: later<ViewProps>(() => import('~/views/routes/one')) },
  { path: '/routes/:ns/:name/edit', Show: later<ViewProps>(() => import('~/views/routes/edit')) },
  { path: '/registry', Show: later<ViewProps>(() => import('~/views/registry')) },
  { path: '/registry/:ns/:name', Show: later<ViewProps>(() => import('~/views/registry/one')) },
  { path: '/events', Show: later<ViewProps>(() => import('~/views/events')) },
  { path: '/audit', Show: later<ViewProps>(() => import('~/views/audit')) },
  { path: '/people', Show: later<ViewProps>(() => import('~/views/people')) },
  { path: '/system', Show: later<ViewProps>(() => import('~/views/system')) },
]

export interface NavItem {
  path: string
  word: Word
  icon: IconName
}

/** The navigation, in groups. */
export const navigation: { word: Word; items: NavItem[] }[] = [
  {
    word: 'observe',
    items: [
      { path: '/', word: 'overview', icon: 'overview' },
      { path: '/topology', word: 'topology', icon: 'topology' },
      { path: '/apps', word: 'apps', icon: 'apps' },
      { path: '/traces', word: 'traces', icon: 'traces' },
    ],
  },
  {
    word: 'govern',
    items: [
      { path: '/switches', word: 'switches', icon: 'switches' },
      { path: '/policies', word: 'policies', icon: 'policies' },
      { path: '/routes', word: 'routes', icon: 'routes' },
    ],
  },
  {
    word: 'fleet',
    items: [
      { path: '/registry', word: 'registry', icon: 'registry' },
      { path: '/events', word: 'events', icon: 'events' },
      { path: '/audit', word: 'audit', icon: 'audit' },
      { path: '/people', word: 'people', icon: 'people' },
      { path: '/system', word: 'system', icon: 'system' },
    ],
  },
]
