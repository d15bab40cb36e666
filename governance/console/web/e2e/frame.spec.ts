// What stands around every view: logging in and out, language, theme, the live
// stream, the keyboard, and the policy that keeps foreign content out.
import { connect, createServer, type Server, type Socket } from 'node:net'
import { expect, mesh, open, settled, test } from './support'

test('logs in where one wanted to go, and out', async ({ page, watch, context }) => {
  // The browser itself says that it was answered 401.
  watch.expects(/status of 401/)
  await context.clearCookies()
  await page.goto('/system')
  await page.getByLabel('User').fill(mesh.user)
  await page.getByLabel('Password').fill('not the password')
  await page.getByRole('button', { name: 'Log in' }).click()
  await expect(page.getByRole('alert')).toBeVisible()
  await page.getByLabel('Password').fill(mesh.password)
  await page.keyboard.press('Enter')
  await expect(page.getByRole('heading', { level: 1, name: 'System' })).toBeVisible()
  await page.getByRole('button', { name: `Account: ${mesh.user}` }).click()
  await page.getByRole('button', { name: 'Log out' }).click()
  await expect(page.getByRole('heading', { name: 'Log in to Weir' })).toBeVisible()
  await page.goto('/audit')
  await expect(page.getByRole('heading', { name: 'Log in to Weir' })).toBeVisible()
})

test('speaks Chinese when asked to, and remembers', async ({ page }) => {
  await open(page, '/system')
  await page.getByRole('button', { name: 'Language' }).click()
  await page.getByRole('button', { name: '中文' }).click()
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN')
  await expect(page.getByRole('navigation').first().getByRole('link', { name: '系统' })).toBeVisible()
  await page.reload()
  await settled(page)
  await expect(page.locator('html')).toHaveAttribute('lang', 'zh-CN')
  await page.getByRole('button', { name: '语言' }).click()
  await page.getByRole('button', { name: 'English' }).click()
  await expect(page.locator('html')).toHaveAttribute('lang', 'en')
})

test('is dark when asked to, and else as the system is', async ({ page }) => {
  await page.emulateMedia({ colorScheme: 'light' })
  await open(page, '/system')
  const theme = page.locator('html')
  await expect(theme).toHaveAttribute('data-theme', 'light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await expect(theme).toHaveAttribute('data-theme', 'dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.getByRole('button', { name: 'Theme' }).click()
  await page.getByRole('button', { name: 'Dark', exact: true }).click()
  await expect(theme).toHaveAttribute('data-theme', 'dark')
  await page.reload()
  await settled(page)
  await expect(theme).toHaveAttribute('data-theme', 'dark')
})

test('finds by keyboard alone', async ({ page }) => {
  await open(page, '/system')
  await page.keyboard.press('/')
  await expect(page.getByRole('dialog')).toBeVisible()
  await page.keyboard.type('audit')
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(/\/audit$/)
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await settled(page)
  await page.reload()
  await settled(page) // what is not there yet takes no focus
  await page.keyboard.press('Tab')
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused()
})

test('serves its page under a strict policy', async ({ page, api }) => {
  const answer = await page.goto('/')
  const policy = answer?.headers()['content-security-policy'] ?? ''
  for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    expect(policy).toContain(part)
  }
  expect(policy).not.toContain('unsafe')
  expect(answer?.headers()['x-content-type-options']).toBe('nosniff')
  const missing = await api.get('/api/v1/nowhere')
  expect(missing.status()).toBe(404)
  expect(missing.headers()['content-type']).toContain('application/problem+json')
})

/** A way to the control plane that can be cut. */
class Cable {
  private sockets = new Set<Socket>()
  private server: Server
  private port = 0

  constructor(to: URL) {
    this.server = createServer((socket) => {
      const out = connect(Number(to.port), to.hostname)
      for (const s of [socket, out]) {
        this.sockets.add(s)
        s.on('error', () => {})
        s.on('close', () => {
          this.sockets.delete(s)
          socket.destroy()
          out.destroy()
        })
      }
      socket.pipe(out).pipe(socket)
    })
  }

  async plug(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(this.port, '127.0.0.1', done))
    this.port = (this.server.address() as { port: number }).port
    return `http://127.0.0.1:${this.port}`
  }

  async cut() {
    const closed = new Promise((done) => this.server.close(done))
    for (const s of this.sockets) s.destroy()
    await closed
  }
}

const cut = test.extend<{ cable: Cable }>({
  cable: async ({}, use) => {
    const cable = new Cable(new URL(mesh.console))
    await use(cable)
    await cable.cut().catch(() => {})
  },
  origin: async ({ cable }, use) => use(await cable.plug()),
})

cut('says that it is stale while the control plane is away, and recovers', async ({ page, watch, cable }) => {
  watch.expects(/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_SOCKET_NOT_CONNECTED/)
  await open(page, '/system')
  const pill = page.locator('header .live')
  await expect(pill).toHaveText('Live')
  await cable.cut()
  await expect(pill).toContainText('Stale for')
  // What was there stays readable, and says that it is old.
  await expect(page.getByRole('heading', { level: 1, name: 'System' })).toBeVisible()
  await expect(page.locator('main table').first()).toBeVisible()
  await cable.plug()
  await expect(pill).toHaveText('Live', { timeout: 40_000 })
})
