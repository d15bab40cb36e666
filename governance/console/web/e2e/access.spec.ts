// Every view in both themes by the rules of axe-core, which finds what can be
// found by rules: names, contrast, order, roles.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from '@playwright/test'
import type { AxeResults } from 'axe-core'
import { fixed, ofObjects } from './places'
import { expect, open, settled, test } from './support'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** What may differ from theme to theme. */
const ofColours = ['color-contrast', 'link-in-text-block']

/** violations of the page as it is now, each with the elements it is about. */
async function violations(page: Page, rules?: string[]): Promise<string[]> {
  // Evaluated, not inserted: the page's policy takes no script but its own.
  await page.evaluate(axe)
  const results = await page.evaluate(
    (only) => (window as unknown as { axe: { run(o: object): Promise<AxeResults> } }).axe.run({ resultTypes: ['violations'], ...(only ? { runOnly: only } : {}) }),
    rules,
  )
  return results.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${v.help}: ${n.html.slice(0, 200)} (${n.failureSummary?.replace(/\s+/g, ' ')})`))
}

async function bothThemes(page: Page): Promise<string[]> {
  const found: string[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await expect(page.locator('html')).toHaveAttribute('data-theme', colorScheme)
    found.push(...(await violations(page, colorScheme === 'dark' ? ofColours : undefined)).map((v) => `${colorScheme}: ${v}`))
  }
  return found
}

for (const place of fixed) {
  test(`${place.name} is accessible`, async ({ page }) => {
    test.slow()
    await open(page, place.path)
    expect(await bothThemes(page)).toEqual([])
  })
}

test('views of one object are accessible', async ({ page, api }) => {
  test.slow()
  const policy = '/api/v1/policies/shop/console-test'
  const made = await api.put(policy, { data: { target: { app: 'shop/inventory' }, timeout: '30s' } })
  expect(made.ok(), await made.text()).toBe(true)
  try {
    for (const place of await ofObjects(api)) {
      await test.step(place.name, async () => {
        await open(page, place.path)
        expect.soft(await bothThemes(page), place.path).toEqual([])
      })
    }
  } finally {
    expect((await api.delete(policy)).ok()).toBe(true)
  }
})

test('logging in is accessible', async ({ page, context, watch }) => {
  watch.expects(/status of 401/)
  await context.clearCookies()
  await page.goto('/')
  await expect(page.getByRole('button', { name: 'Log in' })).toBeVisible()
  expect(await bothThemes(page)).toEqual([])
})

test('a phone shows all of it without sideways scrolling', async ({ page, api }) => {
  test.slow()
  await page.setViewportSize({ width: 390, height: 844 })
  for (const place of [...fixed, ...(await ofObjects(api))]) {
    await test.step(place.name, async () => {
      await page.goto(place.path)
      await settled(page)
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      expect.soft(over, `${place.path} is wider than the screen`).toBeLessThanOrEqual(0)
    })
  }
})
