// Every view with its address. Views are loaded when they are first shown, so
// that the first one is there quickly.
import { lazy, type ComponentType } from 'preact/compat'
import type { words } from '~/app/words'
import type { IconName } from '~/ui/icons'

type Word = Parameters<typeof words>[0]
export interface ViewProps {
  params: Record<string, string | undefined>
}
/** Views by path; the first that matches is shown. */
export const views = [
  { path: '/', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/overview')) },
  { path: '/topology', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/topology')) },
  { path: '/apps', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/apps')) },
  { path: '/apps/:ns/:name', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/app')) },
  { path: '/traces', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/traces')) },
  { path: '/traces/:id', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/trace')) },
  { path: '/switches', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/switches')) },
  { path: '/policies', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/policies')) },
  { path: '/policies/new', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/policies/edit')) },
  { path: '/policies/:ns/:name', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/policies/one')) },
  { path: '/policies/:ns/:name/edit', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/policies/edit')) },
  { path: '/routes', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/routes')) },
  { path: '/routes/new', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/routes/edit')) },
  { path: '/routes/explain', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/routes/explain')) },
  { path: '/routes/:ns/:name', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/routes/one')) },
  { path: '/routes/:ns/:name/edit', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/routes/edit')) },
  { path: '/registry', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/registry')) },
  { path: '/registry/:ns/:name', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/registry/one')) },
  { path: '/events', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/events')) },
  { path: '/audit', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/audit')) },
  { path: '/people', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/people')) },
  { path: '/system', Show: lazy<ComponentType<ViewProps>>(() => import('~/views/system')) },
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
