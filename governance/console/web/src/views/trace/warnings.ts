// What the server says about a trace, as sentences.
import { lang } from '~/i18n'
import { say } from '~/said'

/** told writes a warning in the language of the page. */
export function told(warning: string): string {
  const text = say(warning)
  if (lang.value === 'zh' && text !== warning) return `${text}。`
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}
