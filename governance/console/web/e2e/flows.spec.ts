// What an operator does at three in the morning, from the first look to the way
// back, on the shop as it runs.
import type { Page } from '@playwright/test'
import { expect, failing, json, open, settled, test, turn } from './support'

const switchPath = `/api/v1/switches/shop/inventory.${failing.command}.switch`

test.describe.configure({ mode: 'serial', timeout: 120_000 })

test.afterAll(async ({ playwright }) => {
  const api = await playwright.request.newContext()
  await turn(api, 0)
  await api.dispose()
})

test('finds the failing command', async ({ page, api }) => {
  await turn(api, 100)
  await open(page, '/apps?q=inventory')
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: failing.app, exact: true }) })
  await expect(row).toContainText(/\d %\s*errors|errors/, { timeout: 40_000 })
  await row.getByRole('link', { name: failing.app, exact: true }).click()
  await settled(page)
  const commands = page.getByRole('table', { name: 'Serves' })
  // What is wrong stands first.
  await expect(commands.getByRole('row').nth(1)).toContainText(failing.command)
  await commands.getByRole('link', { name: failing.command }).click()
  await expect(page).toHaveURL(new RegExp(`command=${failing.command}`))
  await expect(page.getByRole('figure', { name: 'Errors and refusals' })).toBeVisible()
  await expect(page.getByRole('link', { name: /Most errors/ })).toBeVisible({ timeout: 30_000 })
})

test('pulls the switch, sees both instances confirm, and releases it', async ({ page, api }) => {
  await api.delete(switchPath)
  await open(page, `/apps/${failing.app}?tab=commands&command=${failing.command}`)
  await page.getByRole('link', { name: 'Pull a switch' }).click()
  const dialog = page.getByRole('dialog')
  await expect(dialog).toContainText('2 live instances have to do so')
  await dialog.getByRole('button', { name: 'Pull the switch' }).click()
  await expect(dialog).toContainText('Say why')
  await dialog.getByLabel('Reason').fill('reservations fail since the release')
  await dialog.getByRole('button', { name: 'Pull the switch' }).click()
  await expect(dialog.getByRole('heading', { name: 'Switch pulled' })).toBeVisible()
  await expect(dialog.getByRole('status').last()).toContainText('2 of 2 confirmed')
  await turn(api, 0)
  await dialog.getByRole('button', { name: 'Done' }).click()
  const card = page.getByRole('region', { name: `shop/inventory.${failing.command}.switch` })
  await expect(card).toContainText('reservations fail since the release')
  await expect(card.getByRole('listitem').filter({ hasText: failing.app })).toHaveCount(2)

  await card.getByRole('button', { name: 'Release' }).click()
  await page.getByRole('dialog').getByLabel('Reason').fill('the faulty release is gone')
  await page.getByRole('dialog').getByRole('button', { name: 'Release' }).click()
  await expect(page.getByRole('dialog')).toHaveCount(0)
  await expect(card).toHaveCount(0)
  await open(page, '/audit')
  await expect(page.locator('main')).toContainText('reservations fail since the release')
})

test('follows a peak of the chart to a trace', async ({ page }) => {
  await open(page, `/apps/${failing.app}?tab=commands&command=${failing.command}`)
  const chart = page.getByRole('slider', { name: 'Calls by outcome' })
  await chart.focus()
  for (const key of ['End', 'ArrowLeft', 'ArrowLeft']) await chart.press(key)
  await expect(chart).toHaveAttribute('aria-valuetext', /Success|Failure|Switched/)
  await chart.press('Enter')
  await toATrace(page)
  await page.goBack()
  await page.goBack()
  await settled(page)
  await page.getByRole('link', { name: /Slowest/ }).click()
  await expect(page).toHaveURL(/\/traces\?.*minDuration=/)
  await toATrace(page)
})

/** toATrace opens the first trace that a search found, and checks that it has the command. */
async function toATrace(page: Page) {
  await expect(page).toHaveURL(/\/traces\?.*app=/)
  await settled(page)
  await page.getByRole('main').getByRole('listitem').getByRole('link').first().press('Enter')
  await expect(page).toHaveURL(/\/traces\/[0-9a-f]{16,32}/)
  await settled(page)
  await expect(page.getByRole('main')).toContainText(/reserve/i)
}

interface RouteVersion {
  revision: number
  route: { filters?: { timeout?: { total: string } }[] }
}

test('rolls a route back', async ({ page, api }) => {
  const path = '/api/v1/routes/shop/console-test'
  const route = (total: string) => ({ namespace: 'shop', name: 'console-test', match: { path: '/console-test' }, filters: [{ timeout: { total } }], upstream: { app: 'shop/storefront' } })
  for (const total of ['3s', '9s']) {
    const answer = await api.put(`${path}?allowUnknown=true`, { data: route(total) })
    expect(answer.ok(), await answer.text()).toBe(true)
  }
  try {
    await open(page, '/routes/shop/console-test?tab=history')
    const history = page.getByRole('table', { name: 'History' })
    const before = await history.getByRole('row').count()
    await history.getByRole('button', { name: 'Roll back' }).first().click()
    const dialog = page.getByRole('dialog')
    await expect(dialog.locator('.skeleton')).toHaveCount(0)
    const unknown = dialog.getByRole('checkbox')
    // Where no registry is, nothing is known of the upstream.
    if (await unknown.count()) await unknown.check()
    await dialog.getByLabel('Reason').fill('nine seconds are too long')
    await dialog.getByRole('button', { name: 'Roll back' }).click()
    await expect(dialog).toHaveCount(0)
    await expect(history.getByRole('row')).toHaveCount(before + 1)
    await expect(history.getByRole('row').nth(1)).toContainText('nine seconds are too long')
    const now = await json<RouteVersion>(api, path)
    expect(now.route.filters?.[0]?.timeout?.total).toBe('3s')
  } finally {
    expect((await api.delete(path)).ok()).toBe(true)
  }
})
