import { beforeEach, describe, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { appOf, dubboCommand, explainPath, filtersFor, headersOf, kindOf, pathVars, routePath, sampleOf, type Route } from '~/views/routes/route'
import { filterWords, matchWords, methodsAndPath } from '~/views/routes/say'

beforeEach(() => setLang('en'))

const route = (r: Partial<Route>): Route => ({ namespace: 'shop', name: 'cart', match: {}, upstream: { app: 'shop/storefront' }, ...r })

describe('a match in words', () => {
  test.each<[Route['match'], string]>([
    [{}, 'every request'],
    [{ path: '/cart/{id}' }, '/cart/{id}'],
    [{ method: 'GET' }, 'GET any path'],
    [{ path: '/cart/{id}', method: ['GET', 'PUT'], host: 'shop.example.com' }, 'GET or PUT /cart/{id} on shop.example.com'],
    [{ host: ['a.example.com', '*.b.example.com'] }, 'every request on a.example.com or *.b.example.com'],
    [{ path: '/x', header: [{ name: 'X-A', equals: 'v2' }, { name: 'X-B', absent: true }] }, '/x where X-A is “v2” and X-B is not there'],
    [{ path: '/x', header: [{ name: 'X-A', regex: '^v' }, { name: 'X-B', present: true }] }, '/x where X-A matches ^v and X-B is there'],
  ])('%j', (match, want) => expect(matchWords(route({ match }))).toBe(want))
  test('in Chinese', () => {
    setLang('zh')
    expect(matchWords(route({ match: { path: '/cart', method: ['GET'], host: 'a.example.com' } }))).toBe('a.example.com 上的 GET /cart')
    expect(methodsAndPath(route({}))).toBe('')
  })
})

describe('filters in words', () => {
  test.each([
    [{ stripPrefix: 1 }, 'Takes 1 segment off the beginning of the path.'],
    [{ timeout: { total: '2s', perTry: '800ms' } }, 'Waits 2s in all, 800ms per try.'],
    [{ retry: { attempts: 2 } }, 'Tries up to 2 times, on no connection; at most 20 % of requests are retried.'],
    [{ retry: { attempts: 3, on: ['reset', '503'], budgetPercent: 10, methods: 'POST' } }, 'Tries up to 3 times, on a broken connection or status 503; at most 10 % of requests are retried. Also POST.'],
    [{ breaker: {} }, 'Circuit breaker: with the defaults.'],
    [{ breaker: { errorPercent: 50, openFor: '5s' } }, 'Circuit breaker: opens at 50 % errors, stays open for 5s.'],
    [{ fallback: { status: 200, on5xx: true } }, 'Answers 200 itself when the upstream does not, or answers 5xx.'],
    [{ bodyLimit: 1048576 }, 'Refuses bodies over 1 MiB (413).'],
    [{ requestHeaders: { remove: ['Cookie'], set: { 'X-A': '1' } } }, 'On the request: removes Cookie, sets X-A.'],
    [{ hostHeader: 'upstream' }, 'The upstream sees its own Host.'],
    [{}, 'A filter that this console does not know.'],
  ])('%j', (filter, want) => expect(filterWords(filter)).toBe(want))
})

describe('what a route may have', () => {
  test('filters that hold for the whole route are offered once', () => {
    expect(filtersFor({ filters: [{ timeout: {} }, { stripPrefix: 1 }] })).toContain('stripPrefix')
    expect(filtersFor({ filters: [{ timeout: {} }] })).not.toContain('timeout')
  })
  test('a Dubbo upstream has no path', () => expect(filtersFor({ upstream: { dubbo: {} } })).not.toContain('rewrite'))
  test('a filter is told by its field, empty or not', () => {
    expect(kindOf({ bodyLimit: 0 })).toBe('bodyLimit')
    expect(kindOf(null)).toBeUndefined()
  })
  test('its application and command', () => {
    const dubbo = route({ upstream: { dubbo: { app: 'shop/inventory', interface: 'org.example.shop.InventoryService', method: 'reserve' } } })
    expect(appOf(dubbo)).toBe('shop/inventory')
    expect(dubboCommand(dubbo)).toBe('InventoryService.reserve')
    expect(appOf(route({ upstream: { url: 'https://example.com' } }))).toBeUndefined()
    expect(dubboCommand(route({}))).toBeUndefined()
  })
  test('variables of a path', () => expect(pathVars('/a/{id}/b/{rest...}')).toEqual(['id', 'rest']))
})

describe('addresses', () => {
  test('of a route', () => expect(routePath('shop/cart', 'edit')).toBe('/routes/shop/cart/edit'))
  test('of a request that a route would take', () => {
    const r = route({ match: { host: '*.example.com', path: '/cart/{id}/{rest...}', method: ['PUT'], header: [{ name: 'X-A', equals: 'a b' }, { name: 'X-B', present: true }, { name: 'X-C', absent: true }] } })
    expect(sampleOf(r)).toEqual({ method: 'PUT', url: 'http://any.example.com/cart/id/rest', headers: ['X-A: a b', 'X-B: 1'] })
    const q = new URL(explainPath(sampleOf(r)), 'http://x').searchParams
    expect(q.get('url')).toBe('http://any.example.com/cart/id/rest')
    expect(q.getAll('header')).toEqual(['X-A: a b', 'X-B: 1'])
  })
  test('headers are read from lines, and what is none is told', () => {
    expect(headersOf(['X-User: 7', 'x:', '', 'X-User:8:9', 'no header', ': v'])).toEqual({ headers: { 'X-User': ['7', '8:9'], x: [''] }, wrong: ['no header', ': v'] })
  })
})
