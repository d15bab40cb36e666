// What the server says, in the language of the page. The catalogue is loaded for
// those alone who do not read English; until it is there, and for what it does not
// have, the server's own words are shown, marked as English for screen readers.
import { effect, signal } from '@preact/signals'
import { load } from '~/app/load'
import { lang } from '~/i18n'

const translate = signal<((text: string) => string | undefined) | undefined>(undefined)
const again = 5000
let loading = false

effect(() => {
  if (lang.value === 'zh') void fetchCatalogue()
})

/** fetchCatalogue loads the sentences; what does not come is asked for again. */
export async function fetchCatalogue(): Promise<void> {
  if (translate.peek() || loading) return
  loading = true
  try {
    const { chinese } = await load(() => import('./zh'))
    translate.value = chinese
  } catch {
    setTimeout(() => {
      if (lang.peek() === 'zh') void fetchCatalogue()
    }, again)
  } finally {
    loading = false
  }
}

const translated = (text: string) => (lang.value === 'zh' ? translate.value?.(text) : undefined)

/** say is a sentence of the server, for where plain text is needed. */
export function say(text: string): string {
  return translated(text) ?? text
}

/** sayReason is why something was written: mostly in the words of who wrote it, but what ended by itself is told by the server. */
export function sayReason(reason: string): string {
  return reason.startsWith('it expired at ') ? say(reason) : reason
}

/** Said shows a sentence of the server. */
export function Said({ text }: { text: string | undefined }) {
  if (!text) return null
  const other = translated(text)
  if (other === undefined && lang.value === 'zh' && /[a-z]{2} /i.test(text)) return <span lang="en">{text}</span>
  return <>{other ?? text}</>
}
