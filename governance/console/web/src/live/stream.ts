// The one live stream of this tab: it is opened when somebody is logged in, takes
// up after an interruption where it stopped, and says how old its last word is.
import { computed, effect, signal } from '@preact/signals'
import { clock } from '~/app/clock'
import { me, onSession } from '~/app/session'
import { backoff } from '~/live/backoff'
import { forgetAll, sourceStale, takeChange, takeEvent, takeHealth, takeSamples, takeHello } from '~/live/store'

/** Silence after which what is shown counts as stale, in ms: the server says something every 2 s. */
export const staleAfter = 7_000

/** Parts of the page that want seconds of an application. */
interface Watch {
  app: string
  instance?: string
}
const watches = new Set<Watch>()

const opened = signal(false)
/** When the stream was heard from last, in ms; 0 for never. */
export const heard = signal(0)
export type LiveState = 'off' | 'connecting' | 'live' | 'stale'

/** How the stream is. */
export const liveState = computed<LiveState>(() => {
  if (!me.value) return 'off'
  if (heard.value === 0) return 'connecting'
  return opened.value && sourceStale.value === undefined && clock.value - heard.value < staleAfter ? 'live' : 'stale'
})

/** Since when what is shown is old, in ms, while the stream is stale. */
export const staleSince = computed(() => (sourceStale.value === undefined ? heard.value : Date.parse(sourceStale.value)))

let source: EventSource | undefined
let after: string | undefined
let failures = 0
let retry: ReturnType<typeof setTimeout> | undefined
let resubscribe: ReturnType<typeof setTimeout> | undefined
let silence: ReturnType<typeof setInterval> | undefined

function address(): string {
  const q = new URLSearchParams()
  const apps = [...new Set([...watches].map((w) => w.app))].slice(0, 4)
  for (const app of apps) q.append('app', app)
  const instance = [...watches].find((w) => w.instance)?.instance
  if (instance) q.set('instance', instance)
  if (after !== undefined) q.set('after', after)
  return `/api/v1/live?${q}`
}

function connect() {
  disconnect()
  if (!me.peek()) return
  const es = new EventSource(address())
  source = es
  const on = (name: string, take: (data: never) => void) =>
    es.addEventListener(name, (e) => {
      if (source !== es) return
      const m = e as MessageEvent<string>
      if (m.lastEventId !== '') after = m.lastEventId
      heard.value = Date.now()
      opened.value = true
      failures = 0
      try {
        take(JSON.parse(m.data) as never)
      } catch (err) {
        console.warn('live: a message was not understood', name, err)
      }
    })
  on('hello', takeHello)
  on('health', takeHealth)
  on('samples', takeSamples)
  on('event', takeEvent)
  on('change', takeChange)
  es.onerror = () => {
    if (source === es) lost()
  }
}

/** lost waits a while, longer each time, and connects anew. EventSource's own retry knows no such patience, and stops at an HTTP error. */
function lost() {
  opened.value = false
  disconnect()
  clearTimeout(retry)
  retry = setTimeout(connect, backoff(failures++))
  // A login that ended is told by an answer, not by a stream.
  if (failures === 1) onSession.check()
}

function disconnect() {
  clearTimeout(retry)
  const es = source
  source = undefined
  es?.close()
}

/** watch asks for the seconds of an application, while a view shows them; it returns what ends that. */
export function watch(app: string, instance?: string): () => void {
  const w: Watch = { app, instance }
  watches.add(w)
  again()
  return () => {
    watches.delete(w)
    again()
  }
}

let asked = ''
function again() {
  clearTimeout(resubscribe)
  // One view goes and the next comes within a moment: one new stream for both.
  resubscribe = setTimeout(() => {
    const wanted = [...watches].map((w) => `${w.app}#${w.instance ?? ''}`).sort().join()
    if (wanted !== asked && me.peek()) {
      asked = wanted
      connect()
    }
  }, 50)
}

/** startLive keeps the stream for as long as somebody is logged in. It is called once. */
export function startLive() {
  // Whether somebody is, not what is known of them: that is asked again after each interruption.
  const loggedIn = computed(() => !!me.value)
  effect(() => {
    if (loggedIn.value) {
      failures = 0
      connect()
    } else {
      disconnect()
      opened.value = false
      heard.value = 0
      after = undefined
      forgetAll()
    }
  })
  clearInterval(silence)
  // A connection that died without a word is not told by the browser for minutes.
  silence = setInterval(() => {
    if (source && heard.peek() > 0 && Date.now() - heard.peek() > 2 * staleAfter) lost()
  }, staleAfter)
  addEventListener('online', () => {
    if (!opened.peek() && me.peek()) {
      failures = 0
      connect()
    }
  })
}
