// Pictures of every view, to be looked at: `make screenshots` takes them. It is no
// test of what a view shows, but a view that breaks ends it.
import { execSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { APIRequestContext, Page } from '@playwright/test'
import type { Place } from './places'
import { clear, ofNothing, ofShop, stage, type Scene } from './scenes'
import { expect, json, settled, test } from './support'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const themes = ['light', 'dark'] as const
const languages = ['en', 'zh'] as const

/** Charts draw after the view has settled, and fonts arrive. */
async function drawn(page: Page) {
  await settled(page)
  await page.evaluate(() => document.fonts.ready)
  await page.waitForTimeout(250)
}

async function prepare(page: Page, lang: string, theme: string) {
  await page.addInitScript(
    ([l, t]) => {
      localStorage.setItem('weir.lang', l!)
      localStorage.setItem('weir.theme', t!)
    },
    [lang, theme],
  )
}

/** turn brings a page that is open into another language and theme, as another tab would in which they are chosen. */
async function turn(page: Page, lang: string, theme: string) {
  await page.evaluate(
    ([l, t]) => {
      for (const [key, newValue] of [['weir.lang', l], ['weir.theme', t]] as const) {
        localStorage.setItem(key, newValue!)
        dispatchEvent(new StorageEvent('storage', { key, newValue }))
      }
    },
    [lang, theme],
  )
}

/** The state in which the mesh is; screenshots.sh brings each about. */
const state = process.env.WEIR_STATE || 'shop'
/** Pictures of these scenes alone. */
const only = new RegExp(process.env.WEIR_SCENES || '')
/** The ways in which each is looked at: languages, themes and widths; those that are named alone, such as "zh-dark-390". */
const ways = languages
  .flatMap((lang) => themes.flatMap((theme) => [1280, 390].map((width) => ({ lang, theme, width, name: `${lang}-${theme}-${width}` }))))
  .filter((w) => !process.env.WEIR_WAYS || process.env.WEIR_WAYS.split(/[ ,]+/).includes(w.name))
/** Nobody looks further down than this. */
const mostHeight = 3200

async function scenesOf(api: APIRequestContext): Promise<Scene[]> {
  return (state === 'empty' ? ofNothing() : await ofShop(api)).filter((s) => only.test(s.name))
}

/** take takes the pictures of what is shown now. */
async function take(page: Page, name: string, { window = false, ready = drawn } = {}) {
  for (const way of ways) {
    await turn(page, way.lang, way.theme)
    await page.setViewportSize({ width: way.width, height: way.width > 500 ? 900 : 844 })
    await page.waitForTimeout(100) // until the page has noticed
    await ready(page)
    const height = window ? 0 : await page.evaluate(() => document.documentElement.scrollHeight)
    const path = join(root, 'dist', 'screenshots', state, way.name, `${name}.jpeg`)
    await page.screenshot({ path, quality: 88, ...(window ? {} : { fullPage: true, clip: { x: 0, y: 0, width: way.width, height: Math.min(height, mostHeight) } }) })
  }
}

test.describe(() => {
  test.describe.configure({ timeout: 3_600_000 })
  test.skip(state === 'gone')
  test.beforeAll(async ({ staging }) => {
    if (state !== 'empty') await stage(staging)
  })
  test.afterAll(async ({ staging }) => {
    if (state !== 'empty') await clear(staging)
  })

  test(`scenes of ${state}`, async ({ page, api, watch }) => {
    watch.expects(/status of (4(01|04|09|12|22)|503)/) // of objects that are not there, writes that are meant to meet another's, and the login
    for (const scene of await scenesOf(api)) {
      await test.step(scene.name, async () => {
        await page.setViewportSize({ width: 1280, height: 900 })
        await page.goto(scene.path)
        await drawn(page)
        await scene.act?.(page)
        await take(page, scene.name, { window: scene.window })
      })
    }
    if (!only.test('login')) return
    await page.context().clearCookies()
    await page.goto('/login')
    await take(page, 'login', { window: true, ready: (p) => p.locator('form').waitFor() })
  })
})

/** go leads to a view as a link would, without asking the server for the page. */
async function go(page: Page, path: string) {
  await page.evaluate((to) => {
    history.pushState(null, '', to)
    dispatchEvent(new PopStateEvent('popstate'))
  }, path)
}

/** The views that are looked at for the first time once the control plane is gone. */
const unseen = ['audit', 'people', 'policy', 'route', 'trace']

test.describe(() => {
  test.describe.configure({ timeout: 3_600_000 })
  test.skip(state !== 'gone')

  test('scenes once the control plane is gone', async ({ page, api, watch }) => {
    watch.expects(/ERR_|Failed to fetch|Unable to preload CSS|status of (404|502)/)
    const end = process.env.WEIR_END
    if (!end) throw new Error('WEIR_END is to be a command that ends the control plane, such as "kill 4711"')
    await stage(api)
    const scenes = (await scenesOf(api)).filter((s) => !s.act)
    await page.goto('/')
    for (const scene of scenes.filter((s) => !unseen.includes(s.name))) {
      await go(page, scene.path)
      await drawn(page)
    }
    await clear(api)
    execSync(end, { stdio: 'inherit' })
    await expect(page.locator('header .live.live-stale')).toBeVisible({ timeout: 60_000 })
    for (const scene of scenes) {
      await go(page, scene.path)
      await take(page, scene.name)
    }
  })
})

interface Found {
  items: { traceId: string; spans: number; errors: number }[]
}

/** The views that the documents show, as something happens in them. */
async function shown(api: APIRequestContext): Promise<Place[]> {
  const traces = (await json<Found>(api, '/api/v1/traces?from=-15m&limit=100')).items
  // One that is large enough to show something, and small enough to be read.
  const trace = [...traces].sort((a, b) => Number(b.errors > 0) - Number(a.errors > 0) || Math.abs(a.spans - 40) - Math.abs(b.spans - 40))[0]
  return [
    { name: 'overview', path: '/' },
    { name: 'app', path: '/apps/shop/inventory?tab=commands&command=InventoryService.reserve' },
    { name: 'switchboard', path: '/switches' },
    ...(trace ? [{ name: 'trace', path: `/traces/${trace.traceId}` }] : []),
  ]
}

if (process.env.WEIR_DOCS_IMAGES && state === 'fleet') {
  for (const lang of languages) {
    for (const theme of themes) {
      test(`documents ${lang} ${theme}`, async ({ browser, session, api, origin }) => {
        const context = await browser.newContext({ baseURL: origin, viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1.5, reducedMotion: 'reduce', timezoneId: 'Asia/Shanghai' })
        await context.addCookies([{ name: 'weir_session', value: session, url: origin }])
        const page = await context.newPage()
        await prepare(page, lang, theme)
        const devtools = await context.newCDPSession(page)
        for (const place of await shown(api)) {
          await page.goto(place.path)
          await drawn(page)
          // Playwright writes PNG and JPEG; WebP is a third of their size.
          const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: 82 })
          const file = join(root, 'docs', 'images', `${place.name}-${theme}.${lang}.webp`)
          mkdirSync(dirname(file), { recursive: true })
          writeFileSync(file, Buffer.from(data, 'base64'))
        }
        await context.close()
      })
    }
  }
}
