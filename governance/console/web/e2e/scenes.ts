// What is looked at in pictures beside plain views: selections, dialogs that are
// open, comparisons, and writes that met another's. Words differ by language, so
// everything is found by its form.
import type { APIRequestContext, Page } from '@playwright/test'
import { fixed, ofObjects, type Place } from './places'
import { expect, failing, json, settled } from './support'

export interface Scene extends Place {
  /** Brings the view about whose picture is taken. */
  act?: (page: Page) => Promise<void>
  /** Picture of what is seen at once, not of all of the page: what is fixed has no place in that. */
  window?: boolean
}

/** What the pictures write and take away again. */
const staged = { policy: 'shop/pictures', switch: 'shop/pictures-switch', route: 'shop/pictures' }
const policyPath = `/api/v1/policies/${staged.policy}`
const switchPath = `/api/v1/switches/${staged.switch}`
const routePath = `/api/v1/routes/${staged.route}`

const policyOf = (timeout: string) => ({
  target: { app: failing.app, command: failing.command, at: 'caller', from: ['shop/orders'] },
  breaker: { window: '10s', minCalls: 20, errorPercent: 50, openFor: '5s' },
  timeout,
  bulkhead: { concurrent: 64 },
  fallback: { value: { reserved: false } },
})
const routeOf = (total: string) => ({
  namespace: 'shop',
  name: 'pictures',
  match: { host: 'shop.example.com', path: '/pictures/{id}', method: ['GET', 'PUT'] },
  filters: [{ timeout: { total } }],
  upstream: { app: 'shop/storefront' },
})

async function write(api: APIRequestContext, method: 'put' | 'post', path: string, data: object) {
  const answer = await api[method](`${path}?allowUnknown=true`, { data })
  expect(answer.ok(), `${method} ${path}: ${await answer.text()}`).toBe(true)
}

/** stage writes what has versions to compare and a switch to release. */
export async function stage(api: APIRequestContext) {
  for (const timeout of ['2s', '800ms']) await write(api, 'put', policyPath, policyOf(timeout))
  for (const total of ['9s', '3s']) await write(api, 'put', routePath, routeOf(total))
  await write(api, 'post', '/api/v1/switches', { name: 'pictures-switch', target: { app: failing.app, command: 'InventoryService.stock' }, value: { pieces: 0 }, for: '45m' })
}

/** clear takes it away again. */
export async function clear(api: APIRequestContext) {
  for (const path of [policyPath, routePath, switchPath]) await api.delete(path)
}

const press = (page: Page, selector: string) => page.locator(selector).first().click()
const dialog = (selector: string) => async (page: Page) => {
  await press(page, selector)
  await expect(page.getByRole('dialog')).toBeVisible()
  await expect(page.locator('dialog .skeleton')).toHaveCount(0)
}

interface Versions {
  items: { version?: number; revision?: number }[]
}
interface Traces {
  items: { traceId: string; spans: number }[]
}

/** The scenes of a control plane to which nothing came yet: whatever asks for an object finds none. */
export function ofNothing(): Scene[] {
  return [
    ...fixed,
    { name: 'app-unknown', path: `/apps/${failing.app}` },
    { name: 'registry-unknown', path: `/registry/${failing.app}` },
    { name: 'policy-unknown', path: '/policies/shop/none' },
    { name: 'route-unknown', path: '/routes/shop/none' },
    { name: 'trace-unknown', path: '/traces/0123456789abcdef0123456789abcdef' },
    { name: 'palette', path: '/', window: true, act: palette('') },
    { name: 'pull', path: '/switches?pull=new', window: true },
  ]
}

function palette(text: string) {
  return async (page: Page) => {
    await page.keyboard.press('/')
    await page.getByRole('dialog').getByRole('combobox').fill(text)
  }
}

/** The scenes of a mesh with the shop, once staged. */
export async function ofShop(api: APIRequestContext): Promise<Scene[]> {
  const app = `/apps/${failing.app}`
  const command = `${app}?tab=commands&command=${failing.command}&at=provider`
  const [p, r] = [`/policies/${staged.policy}`, `/routes/${staged.route}`]
  const versions = (await json<Versions>(api, `${policyPath}/versions`)).items
  const traces = (await json<Traces>(api, '/api/v1/traces?from=-15m&limit=100')).items
  const large = [...traces].sort((a, b) => b.spans - a.spans)[0]
  const edges = (await json<{ edges: { from: string; to: string }[] }>(api, '/api/v1/topology?from=-900s')).edges
  const edge = edges.find((e) => e.to === failing.app) ?? edges[0]
  return [
    ...fixed,
    ...(await ofObjects(api)),
    { name: 'topology-app', path: `/topology?app=${failing.app}&view=graph` },
    ...(edge ? [{ name: 'topology-edge', path: `/topology?edge=${encodeURIComponent(`${edge.from}>${edge.to}`)}` }] : []),
    { name: 'topology-all', path: '/topology?group=app&view=graph' },
    { name: 'topology-table', path: '/topology?view=table' },
    { name: 'app-command-hour', path: `${command}&range=1h` },
    { name: 'app-range', path: command, window: true, act: (page) => press(page, '.page > header .actions .menu > button') },
    { name: 'traces-errors', path: '/traces?error=true' },
    ...(large ? [{ name: 'trace-large', path: `/traces/${large.traceId}` }, { name: 'trace-span', path: `/traces/${large.traceId}`, act: async (page: Page) => press(page, '.wf [data-index="1"]') }] : []),
    { name: 'palette', path: '/', window: true, act: palette('inv') },
    { name: 'pull', path: `/switches?pull=${failing.app}/${failing.command}`, window: true },
    { name: 'extend', path: '/switches', window: true, act: dialog('.switch header button.btn:not(.danger)') },
    { name: 'release', path: '/switches', window: true, act: dialog('.switch header .btn.danger') },
    { name: 'policy-full', path: p },
    { name: 'policy-compare', path: `${p}?version=${versions[0]?.version}&with=${versions[1]?.version}` },
    { name: 'policy-older', path: `${p}?version=${versions[1]?.version}` },
    { name: 'policy-delete', path: p, window: true, act: dialog('main .btn.danger') },
    { name: 'policy-conflict', path: `${p}/edit`, act: (page) => conflicting(page, () => write(api, 'put', policyPath, policyOf(`${900 + Math.floor(Math.random() * 99)}ms`)), '.editor > .card .notice.warn') },
    { name: 'route-compare', path: `${r}?tab=history` },
    {
      name: 'route-delete',
      path: r,
      window: true,
      act: async (page) => {
        await press(page, '.page > header .menu > button')
        await dialog('.page > header .menu .items > button')(page)
      },
    },
    { name: 'route-rollback', path: `${r}?tab=history`, window: true, act: dialog('main table tbody .btn') },
    { name: 'route-conflict', path: `${r}/edit`, act: (page) => conflicting(page, () => write(api, 'put', routePath, routeOf(`${4 + Math.floor(Math.random() * 90)}s`)), 'main .notice.bad') },
    { name: 'route-explained', path: '/routes/explain?method=GET&url=http%3A%2F%2Fshop.example.com%2Fpictures%2F42' },
    { name: 'account-new', path: '/people', window: true, act: dialog('main .card header .btn') },
    {
      name: 'menu',
      path: '/',
      window: true,
      act: async (page) => {
        const toggle = page.locator('.navtoggle')
        if (await toggle.isVisible()) await toggle.click()
      },
    },
  ]
}

/** conflicting has another write the document that an editor has open, changes it there too, and waits until the page says so. */
async function conflicting(page: Page, other: () => Promise<void>, box: string) {
  await settled(page)
  const text = page.locator('.editor-side textarea, .rt-left textarea').first()
  await expect(text).not.toHaveValue('')
  await other()
  await text.press('ControlOrMeta+End')
  await text.pressSequentially('\n# mine')
  await expect(page.locator(box).first()).toBeVisible()
}
