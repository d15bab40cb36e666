import { render } from 'preact'
import { Suspense } from 'preact/compat'
import { afterEach, expect, test, vi } from 'vitest'
import { problemOf, Problem } from '~/api/client'
import { Guard } from '~/app/guard'
import { later, load, LoadError } from '~/app/load'
import { setLang } from '~/i18n'

afterEach(() => setLang('en'))

/** away makes the server one that does not answer; what it returns brings it back. */
function away() {
  return vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('Failed to fetch'))
}

test('a part that cannot be loaded says whether the server is away or has another version', async () => {
  const part = () => Promise.reject(new TypeError('Failed to fetch dynamically imported module'))
  const fetch = away()
  expect(await load(part).catch((e: unknown) => e)).toMatchObject({ outdated: false })
  fetch.mockResolvedValue(new Response('<!doctype html>'))
  const err = await load(part).catch((e: unknown) => e)
  expect(err).toBeInstanceOf(LoadError)
  expect(err).toMatchObject({ outdated: true })
})

test('a view that could not be loaded is said, and comes when it is tried again', async () => {
  away()
  vi.spyOn(console, 'error').mockImplementation(() => {})
  const part = vi.fn<() => Promise<{ default: () => preact.JSX.Element }>>().mockRejectedValueOnce(new TypeError('Failed to fetch'))
  part.mockResolvedValue({ default: () => <h1>The view</h1> })
  const View = later(part)
  const root = document.createElement('div')
  render(
    <Guard>
      <Suspense fallback="waiting">
        <View />
      </Suspense>
    </Guard>,
    root,
  )
  await vi.waitFor(() => expect(root.textContent).toContain('The control plane does not answer'))
  root.querySelector('button')!.click()
  await vi.waitFor(() => expect(root.textContent).toBe('The view'))
  expect(part).toHaveBeenCalledTimes(2)
  render(null, root)
})

test('a problem is told in the language that the page has now', () => {
  const silent = new Problem(0)
  const forbidden = problemOf(403, { detail: 'operator may not write there' })
  expect(silent.detail).toContain('does not answer')
  expect(forbidden.detail).toBe('operator may not write there')
  setLang('zh')
  expect(silent.detail).toContain('控制面没有响应')
  expect(forbidden.detail).toBe('没有权限：operator may not write there')
  expect(problemOf(503, { detail: 'the answer took longer than 30s' }).late).toBe(true)
  expect(problemOf(503, { detail: 'the database does not answer' }).late).toBe(false)
  expect(problemOf(418, 'x').detail).toContain('418')
})
