// An answer that is asked for again and again.
import { QueryClientProvider } from '@tanstack/preact-query'
import { render } from 'preact'
import { afterEach, expect, test, vi } from 'vitest'
import { queries, refresh, useGet } from '~/api/query'

afterEach(() => vi.unstubAllGlobals())

/** What was shown, one after the other. */
const said: string[] = []

function View() {
  const q = useGet('/api/v1/apps', undefined, { retry: false })
  const text = q.error ? `failed: ${q.error.status}` : q.data ? 'there' : 'asking'
  if (said.at(-1) !== text) said.push(text)
  return <p>{text}</p>
}

test('an error stays until there is another answer, while it is asked again', async () => {
  const answers: ((r: Response) => void)[] = []
  vi.stubGlobal('fetch', () => new Promise<Response>((done) => answers.push(done)))
  const root = document.body
  render(
    <QueryClientProvider client={queries}>
      <View />
    </QueryClientProvider>,
    root,
  )
  const json = (status: number, body: object) => new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } })
  const shows = (text: string) => vi.waitFor(() => expect(root.textContent).toBe(text))
  await shows('asking')
  await vi.waitFor(() => expect(answers).toHaveLength(1))
  answers[0]!(json(404, { detail: 'nothing here' }))
  await shows('failed: 404')
  refresh('/api/v1/apps')
  await vi.waitFor(() => expect(answers).toHaveLength(2))
  await new Promise((drawn) => setTimeout(drawn, 50))
  answers[1]!(json(200, { items: [] }))
  await shows('there')
  expect(said).toEqual(['asking', 'failed: 404', 'there'])
})
