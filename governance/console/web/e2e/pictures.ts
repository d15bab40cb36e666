// Pictures of every view, to be looked at: `make screenshots` takes them. It is no
// test of what a view shows, but a view that breaks ends it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from '@playwright/test'
import { fixed, ofObjects, type Place } from './places'
import { json, settled, test } from './support'

const root = fileURLToPath(new URL('../../../..', import.meta.url))
const themes = ['light', 'dark'] as const
const languages = ['en', 'zh'] as const

/** Charts draw after the view has settled, and fonts arrive. */
async function drawn(page: Page) {
  await settled(page)
  await page.evaluate(() => document.fonts.ready)
  await page.waitForTimeout(400)
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

for (const lang of languages) {
  for (const theme of themes) {
    for (const width of [1280, 390]) {
      test(`${lang} ${theme} ${width}`, async ({ page, api }) => {
        test.setTimeout(600_000)
        await prepare(page, lang, theme)
        await page.setViewportSize({ width, height: width > 500 ? 900 : 844 })
        const dir = join(root, 'dist', 'screenshots', `${lang}-${theme}-${width}`)
        for (const place of [...fixed, ...(await ofObjects(api))]) {
          await page.goto(place.path)
          await drawn(page)
          await page.screenshot({ path: join(dir, `${place.name}.png`), fullPage: true })
        }
        await page.context().clearCookies()
        await page.goto('/login')
        await page.locator('form').waitFor()
        await page.screenshot({ path: join(dir, 'login.png') })
      })
    }
  }
}

interface Found {
  items: { traceId: string; spans: number; errors: number }[]
}

/** The views that the documents show, as something happens in them. */
async function shown(api: Parameters<typeof ofObjects>[0]): Promise<Place[]> {
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

if (process.env.WEIR_DOCS_IMAGES) {
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
