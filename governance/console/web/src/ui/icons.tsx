// Icons, drawn on a grid of 16. They never stand alone for a meaning: a word is
// beside them, or in the label of their button.
const shapes = {
  overview: 'M2 2h5v5H2zM9 2h5v5H9zM2 9h5v5H2zM9 9h5v5H9z',
  topology: 'M3.500 5.500a2 2 0 100-4 2 2 0 000 4zM12.500 8.500a2 2 0 100-4 2 2 0 000 4zM5 14.500a2 2 0 100-4 2 2 0 000 4zM5.300 4.300l5.300 1.600M10.800 7.600l-4.300 3.700',
  apps: 'M8 1.500l6 3v7l-6 3-6-3v-7zM2 4.500l6 3 6-3M8 7.500v7',
  traces: 'M1.500 3h8M4.500 7h8M7.500 11h7M4.500 14h4',
  switches: 'M5 4h6a4 4 0 010 8H5a4 4 0 010-8zM5 6a2 2 0 100 4 2 2 0 000-4z',
  policies: 'M4 1.500h6l3 3v10H4zM10 1.500v3h3M6 8h5M6 11h5',
  routes: 'M3 14V9a3 3 0 013-3h7M10 3l3 3-3 3M3 2v2',
  registry: 'M2 4c0-1.400 2.700-2.500 6-2.500s6 1.100 6 2.500-2.700 2.500-6 2.500S2 5.400 2 4zM2 4v8c0 1.400 2.700 2.500 6 2.500s6-1.100 6-2.500V4M2 8c0 1.400 2.700 2.500 6 2.500S14 9.400 14 8',
  events: 'M2 3h12M2 8h12M2 13h8',
  audit: 'M8 1.500l5.500 2v4c0 3.500-2.300 5.800-5.500 7-3.200-1.200-5.500-3.500-5.500-7v-4zM5.500 8l2 2 3.500-4',
  people: 'M6 7.500a3 3 0 100-6 3 3 0 000 6zM1 14.500c0-3 2.200-5 5-5s5 2 5 5M11 2a3 3 0 010 5.500M12.500 9.800c1.500.7 2.500 2.300 2.500 4.700',
  system: 'M2 2.500h12v4.500H2zM2 9h12v4.500H2zM4.500 4.700h.1M4.500 11.200h.1',
  search: 'M7 12.500a5.500 5.500 0 100-11 5.500 5.500 0 000 11zM11 11l3.500 3.500',
  menu: 'M2 4h12M2 8h12M2 12h12',
  close: 'M3.500 3.500l9 9M12.500 3.500l-9 9',
  down: 'M3.500 6l4.500 4.500L12.500 6',
  up: 'M3.500 10L8 5.500l4.500 4.500',
  right: 'M6 3.500l4.500 4.500L6 12.500',
  left: 'M10 3.500L5.500 8l4.500 4.500',
  ok: 'M3 8.500l3.500 3.500L13 4.500',
  warn: 'M8 2l6.500 11.500h-13zM8 6.500v3.500M8 12h.1',
  bad: 'M8 14.500a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM8 4.500V9M8 11.500h.1',
  info: 'M8 14.500a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM8 7.500v4M8 4.700h.1',
  clock: 'M8 14.500a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM8 4v4l2.700 1.700',
  copy: 'M5.500 5.500h8v9h-8zM10.500 5.500v-4h-8v9h3',
  external: 'M9 2.500h4.500V7M13.500 2.500L7.500 8.500M11.500 9.500v4h-9v-9h4',
  download: 'M8 2v8M4.500 7L8 10.500 11.500 7M2.500 13.500h11',
  sun: 'M8 11a3 3 0 100-6 3 3 0 000 6zM8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1.100 1.100M11.900 11.900L13 13M13 3l-1.100 1.100M4.100 11.900L3 13',
  moon: 'M13.500 9.700A6 6 0 016.300 2.500a6 6 0 107.200 7.200z',
  globe: 'M8 14.500a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM1.500 8h13M8 1.500c2 2 2.800 4.200 2.800 6.500S10 12.500 8 14.500C6 12.500 5.200 10.300 5.200 8S6 3.500 8 1.500z',
  user: 'M8 8a3 3 0 100-6 3 3 0 000 6zM2.500 14.500c0-3 2.500-5 5.500-5s5.500 2 5.500 5',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  fit: 'M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4',
  undo: 'M3 7h6.500a3.500 3.500 0 010 7H7M6 3.500L2.500 7 6 10.500',
  why: 'M5.500 6a2.500 2.500 0 115 .2c0 1.600-2.500 1.900-2.500 3.600M8 12.500h.1',
  lock: 'M3.500 7.500h9v7h-9zM5.500 7.500V5a2.500 2.500 0 015 0v2.500',
  bolt: 'M9 1.500L3.500 9H8l-1 5.500L12.500 7H8z',
  flag: 'M4 14.500v-13M4 2.500h8l-2 3 2 3H4',
  half: 'M8 2a6 6 0 100 12zM8 2a6 6 0 010 12',
  dot: 'M8 10.500a2.500 2.500 0 100-5 2.500 2.500 0 000 5z',
  filter: 'M2 3h12l-4.500 5.500v5L6.500 12V8.500z',
} as const

export type IconName = keyof typeof shapes

export function Icon({ name, size = 16, label }: { name: IconName; size?: number; label?: string }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round" role={label ? 'img' : undefined} aria-label={label} aria-hidden={label ? undefined : 'true'} focusable="false">
      <path d={shapes[name]} />
    </svg>
  )
}
