import { afterEach, expect, test, vi } from 'vitest'
import { queries, refresh, writing } from '~/api/query'

afterEach(() => vi.useRealTimers())

test('what is told of while a write is under way is read again after it', async () => {
  vi.useFakeTimers()
  queries.setQueryData(['/api/v1/routes:plan', 'draft'], {})
  const stale = () => queries.getQueryState(['/api/v1/routes:plan', 'draft'])?.isInvalidated
  let answered = () => {}
  const one = writing(() => new Promise<void>((done) => (answered = done)))
  refresh('/api/v1/routes') // the live stream is quicker than the answer
  expect(stale()).toBe(false)
  answered()
  await one
  expect(stale()).toBe(false) // the view has yet to draw what came of it
  await vi.advanceTimersByTimeAsync(1000)
  expect(stale()).toBe(true)
})

test('a write that fails holds nothing up', async () => {
  vi.useFakeTimers()
  await expect(writing(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
  await vi.advanceTimersByTimeAsync(1000)
  queries.setQueryData(['/api/v1/policies'], {})
  refresh('/api/v1/policies')
  expect(queries.getQueryState(['/api/v1/policies'])?.isInvalidated).toBe(true)
})
