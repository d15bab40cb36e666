// What the console says, in the two languages it speaks. Each view keeps its own
// dictionary, so that its words are loaded with it; the compiler sees to it that
// both languages have the same keys.
import { effect, signal } from '@preact/signals'

export type Lang = 'en' | 'zh'

const stored = 'weir.lang'

function preferred(): Lang {
  const chosen = read(stored)
  if (chosen === 'en' || chosen === 'zh') return chosen
  return navigator.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key)
  } catch {
    return null // storage may be forbidden; the choice then lasts as long as the tab
  }
}

/** The language of the page. Whatever renders by it renders again when it changes. */
export const lang = signal<Lang>(preferred())

// What is chosen in one tab holds in the others.
addEventListener('storage', (e) => {
  if (e.key === stored) lang.value = preferred()
})

export function setLang(l: Lang) {
  lang.value = l
  try {
    localStorage.setItem(stored, l)
  } catch {
    /* as above */
  }
}

effect(() => {
  document.documentElement.lang = lang.value === 'zh' ? 'zh-CN' : 'en'
})

export type Params = Record<string, string | number>
export type Translate<K extends string> = (key: K, params?: Params) => string

/**
 * dictionary returns the words of one part of the page. In a text, {name} stands
 * for a parameter, and {n|instance|instances} for the form that fits the number n.
 */
export function dictionary<K extends string>(words: { en: Record<K, string>; zh: Record<NoInfer<K>, string> }): Translate<K> & { has(key: string): key is K } {
  const t = ((key: K, params?: Params) => fill(words[lang.value][key], params)) as Translate<K> & { has(key: string): key is K }
  t.has = (key: string): key is K => Object.hasOwn(words.en, key)
  return t
}

export function fill(text: string, params: Params = {}): string {
  return text.replace(/\{(\w+)(?:\|([^|{}]*)\|([^|{}]*))?\}/g, (whole, name: string, one?: string, many?: string) => {
    const v = params[name]
    if (v === undefined) return whole
    if (one !== undefined) return Number(v) === 1 ? one : (many ?? '')
    return typeof v === 'number' ? formatNumber(v) : v
  })
}

const numbers: Record<string, Intl.NumberFormat> = {}

/** formatNumber writes a number as the language does, with at most some digits after the point. */
export function formatNumber(v: number, digits = 2): string {
  const key = `${lang.value}${digits}`
  numbers[key] ??= new Intl.NumberFormat(lang.value === 'zh' ? 'zh-CN' : 'en-US', { maximumFractionDigits: digits })
  return numbers[key].format(v)
}
