// What every browser test stands on: a mesh, an account, and a page that may do
// nothing wrong without being noticed.
import { expect, test as base, type APIRequestContext, type Page } from '@playwright/test'

function setting(name: string, fallback: string): string {
  return process.env[name] || fallback
}

/** The mesh under test. */
export const mesh = {
  console: setting('WEIR_SERVER', 'http://127.0.0.1:9000').replace(/\/$/, ''),
  user: setting('WEIR_USER', 'admin'),
  password: setting('WEIR_PASSWORD', ''),
  /** Addresses of the knobs of each instance of the shop's inventory. */
  knobs: setting('WEIR_TEST_KNOBS', '').split(' ').filter(Boolean),
}

/** An application whose instances are called though none is ready, where there is one. */
export const kept = setting('WEIR_TEST_KEPT', '')

/** The failing operation of the shop, as its circuits and policies name it. */
export const failing = { app: 'shop/inventory', operation: 'reserve', command: 'InventoryService.reserve' }

/** What a page did that it should not have. */
class Watch {
  readonly wrong: string[] = []
  private expected: RegExp[] = []

  constructor(private readonly origin: string) {}

  /** expects lets messages of the browser pass that a test brings about itself. */
  expects(...messages: RegExp[]) {
    this.expected.push(...messages)
  }

  async on(page: Page) {
    const note = (text: string) => {
      if (!this.expected.some((e) => e.test(text))) this.wrong.push(text)
    }
    page.on('console', (m) => {
      if (m.type() === 'error') note(`console: ${m.text()} (${m.location().url})`)
    })
    page.on('pageerror', (e) => note(`error: ${e.stack ?? e.message}`))
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => console.error(`the policy forbids ${e.violatedDirective} ${e.blockedURI}`))
    })
    const own = (url: URL) => url.origin === this.origin || url.protocol === 'data:' || url.protocol === 'blob:'
    await page.route(
      (url) => !own(url),
      async (route) => {
        note(`request to ${route.request().url()}`)
        await route.abort()
      },
    )
  }
}

interface Fixtures {
  /** Where the page is served; a test may put something in between. */
  origin: string
  watch: Watch
  /** The API, asked as the page does. */
  api: APIRequestContext
}

interface WorkerFixtures {
  session: string
  /** The API for what is prepared before a test and put away after it. */
  staging: APIRequestContext
}

const asUser = (session: string) => ({ baseURL: mesh.console, extraHTTPHeaders: { Cookie: `weir_session=${session}`, Origin: mesh.console, 'Weir-Reason': 'browser%20test' } })

/** test has a page that is logged in, and fails on errors in the console and on requests to others. */
export const test = base.extend<Fixtures, WorkerFixtures>({
  session: [
    async ({ playwright }, use) => {
      const api = await playwright.request.newContext({ baseURL: mesh.console })
      const answer = await api.post('/api/v1/login', { data: { user: mesh.user, password: mesh.password } })
      expect(answer.status(), `log in as ${mesh.user}: ${await answer.text()}`).toBe(200)
      const { cookies } = await api.storageState()
      await api.dispose()
      const cookie = cookies.find((c) => c.name === 'weir_session')
      expect(cookie, 'a session').toBeDefined()
      await use(cookie!.value)
    },
    { scope: 'worker' },
  ],
  staging: [
    async ({ playwright, session }, use) => {
      const api = await playwright.request.newContext(asUser(session))
      await use(api)
      await api.dispose()
    },
    { scope: 'worker' },
  ],
  origin: mesh.console,
  baseURL: async ({ origin }, use) => use(origin),
  watch: async ({ origin }, use) => {
    const watch = new Watch(new URL(origin).origin)
    await use(watch)
    expect(watch.wrong, 'what the page did wrong').toEqual([])
  },
  page: async ({ page, watch, origin, session }, use) => {
    await page.context().addCookies([{ name: 'weir_session', value: session, url: origin }])
    await watch.on(page)
    await use(page)
  },
  api: async ({ playwright, session }, use) => {
    const api = await playwright.request.newContext(asUser(session))
    await use(api)
    await api.dispose()
  },
})

export { expect }

/** settled waits until a view shows what it has to show. */
export async function settled(page: Page) {
  await expect(page.locator('main h1').first()).toBeVisible()
  await expect(page.locator('main .skeleton, main [aria-busy="true"]')).toHaveCount(0)
}

/** open goes to an address of the console and waits until it is shown. */
export async function open(page: Page, path: string) {
  await page.goto(path)
  await settled(page)
}

/** json reads a document of the API. */
export async function json<T>(api: APIRequestContext, path: string): Promise<T> {
  const answer = await api.get(path)
  expect(answer.ok(), `GET ${path}: ${answer.status()}`).toBe(true)
  return (await answer.json()) as T
}

/** turn makes the shop's operation fail in every instance, or well again. */
export async function turn(api: APIRequestContext, percent: number) {
  expect(mesh.knobs.length, 'WEIR_TEST_KNOBS names the knobs of inventory').toBeGreaterThan(0)
  for (const knob of mesh.knobs) {
    const answer = percent > 0 ? await api.put(knob, { data: { [failing.operation]: { errorPercent: percent, for: '5m' } } }) : await api.delete(knob)
    expect(answer.ok(), `${knob}: ${answer.status()}`).toBe(true)
  }
}
