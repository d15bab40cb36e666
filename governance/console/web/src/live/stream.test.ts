import { expect, test, vi } from 'vitest'
import { me, type Me } from '~/app/session'
import { events, health, takeEvent, takeHealth } from '~/live/store'
import { startLive } from '~/live/stream'

const someone = (name: string): Me => ({ name, role: 'viewer' }) as Me

class Source {
  static opened: Source[] = []
  closed = false
  constructor(readonly url: string) {
    Source.opened.push(this)
  }
  addEventListener() {}
  close() {
    this.closed = true
  }
}

test('the stream is open while somebody is logged in, and leaves nothing to the next', () => {
  vi.stubGlobal('EventSource', Source)
  startLive() // nobody is, as when a page is opened: this must not fail
  expect(Source.opened).toHaveLength(0)

  me.value = someone('ann')
  expect(Source.opened).toHaveLength(1)
  takeHealth({ full: true, items: [{ app: 'bank/ledger' } as never] })
  takeEvent({ id: 1, time: '2026-01-01T00:00:00Z', kind: 'transition', app: 'bank/ledger' })
  expect(Source.opened).toHaveLength(1) // what it told did not make it anew

  me.value = undefined
  expect(Source.opened[0]?.closed).toBe(true)
  expect([health.value.size, events.value.length]).toEqual([0, 0])

  me.value = someone('bob')
  expect(Source.opened).toHaveLength(2)
})
