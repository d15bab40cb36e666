// What self-preservation holds back, and why, as an operator finds it: every instance
// of an application turned unready at once, and all are called on.
import type { Page } from '@playwright/test'
import { expect, kept, open, settled, test } from './support'

const name = kept.split('/')[1] ?? ''

test.beforeEach(() => expect(kept, 'WEIR_TEST_KEPT names an application of three instances, all of them kept').not.toBe(''))

const rowOf = (page: Page, text: string) => page.getByRole('row').filter({ has: page.getByRole('link', { name: text, exact: true }) })
const cardOf = (page: Page, title: string) => page.locator('section.card').filter({ has: page.getByRole('heading', { name: title, exact: true }) })

test('says which instances are called though they are not ready, and why', async ({ page }) => {
  await open(page, '/')
  await expect(page.locator('main')).toContainText(`3 of 3 instances of ${kept} are called though not ready`)

  await open(page, '/registry?wrong=true')
  await expect(rowOf(page, kept)).toContainText('3 of 3 called')
  await expect(rowOf(page, kept)).toContainText('3 of them kept')
  await rowOf(page, kept).getByRole('link', { name: kept, exact: true }).click()
  await settled(page)

  await expect(page.locator('main')).toContainText('3 instances are called though not ready')
  const instances = page.getByRole('table', { name: 'Instances' })
  for (const letter of ['a', 'b', 'c']) {
    const row = instances.getByRole('row').filter({ has: page.getByRole('link', { name: `${name}-${letter}`, exact: true }) })
    await expect(row).toContainText('Called: kept, not ready')
    await expect(row).toContainText(/not ready; called until .* at the latest: \d of 3 were lost at once/)
  }

  await instances.getByRole('link', { name: `${name}-b`, exact: true }).click()
  const why = cardOf(page, `Why ${name}-b is called`)
  const check = why.getByRole('row').filter({ hasText: 'it is called all the same' }).first()
  await expect(check).toContainText('Ready')
  await expect(check).toContainText('nothing proves that they are gone')
})

test('says so in Chinese', async ({ page }) => {
  await page.addInitScript(() => localStorage.setItem('weir.lang', 'zh'))
  await open(page, `/registry/${kept}?instance=${name}-a`)
  await expect(page.locator('main')).toContainText('3 个实例未就绪但仍被调用')
  await expect(page.getByRole('table', { name: '实例' })).toContainText('保留，未就绪')
  await expect(cardOf(page, `${name}-a 为什么可调用`)).toContainText('没有证据表明它们已不存在')
})
