// Every view with its address. Views are loaded when they are first shown, so
// that the first one is there quickly.
import { lazy, type ComponentType } from 'preact/compat'
import type { words } from '~/app/words'
import type { IconName } from '~/ui/icons'

type Word = Parameters<typeof words>[0]
export interface ViewProps {
  params: Record<string, string | undefined>
}
type Module = { default: ComponentType<ViewProps> }

const files = import.meta.glob<Module>('../views/**/*.tsx')

/** Views by path; the first that matches is shown. */
const places: [path: string, file: string][] = [
  ['/', 'overview/index'],
  ['/topology', 'topology/index'],
  ['/apps', 'apps/index'],
  ['/apps/:ns/:name', 'app/index'],
  ['/traces', 'traces/index'],
  ['/traces/:id', 'trace/index'],
  ['/switches', 'switches/index'],
  ['/policies', 'policies/index'],
  ['/policies/new', 'policies/edit'],
  ['/policies/:ns/:name', 'policies/one'],
  ['/policies/:ns/:name/edit', 'policies/edit'],
  ['/routes', 'routes/index'],
  ['/routes/new', 'routes/edit'],
  ['/routes/explain', 'routes/explain'],
  ['/routes/:ns/:name', 'routes/one'],
  ['/routes/:ns/:name/edit', 'routes/edit'],
  ['/registry', 'registry/index'],
  ['/registry/:ns/:name', 'registry/one'],
  ['/events', 'events/index'],
  ['/audit', 'audit/index'],
  ['/people', 'people/index'],
  ['/system', 'system/index'],
]

export const views = places.flatMap(([path, file]) => {
  const load = files[`../views/${file}.tsx`]
  return load ? [{ path, Show: lazy(load) }] : []
})

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
