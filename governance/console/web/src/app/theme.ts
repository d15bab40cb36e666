// Light or dark: as the system has it unless somebody chose.
import { computed, effect, signal } from '@preact/signals'

export type Theme = 'light' | 'dark' | 'system'
const stored = 'weir.theme'

function chosen(): Theme {
  try {
    const v = localStorage.getItem(stored)
    return v === 'light' || v === 'dark' ? v : 'system'
  } catch {
    return 'system'
  }
}

export const theme = signal<Theme>(chosen())
const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = signal(system.matches)
system.addEventListener?.('change', (e) => {
  systemDark.value = e.matches
})

// What is chosen in one tab holds in the others.
addEventListener('storage', (e) => {
  if (e.key === stored) theme.value = chosen()
})

/** Whether the page is dark. Charts draw on canvas and have to know. */
export const dark = computed(() => theme.value === 'dark' || (theme.value === 'system' && systemDark.value))

export function setTheme(t: Theme) {
  theme.value = t
  try {
    if (t === 'system') localStorage.removeItem(stored)
    else localStorage.setItem(stored, t)
  } catch {
    /* the choice lasts as long as the tab */
  }
}

effect(() => {
  document.documentElement.dataset.theme = dark.value ? 'dark' : 'light'
})

/** token reads a design token, such as "--text", as it is now. */
export function token(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}
