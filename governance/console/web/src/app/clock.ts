// One timer for all that says how long ago something was.
import { signal } from '@preact/signals'

/** The time, in ms, renewed each second while the page is seen. */
export const clock = signal(Date.now())

setInterval(() => {
  if (!document.hidden) clock.value = Date.now()
}, 1000)
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) clock.value = Date.now()
})
