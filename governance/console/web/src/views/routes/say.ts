// Routes in words.
import * as format from '~/i18n/format'
import { filterKinds, kindOf, listOf, type Filter, type FilterKind, type HeaderMatch, type Route } from '~/views/routes/route'
import { t } from '~/views/routes/words'

/** methodsAndPath is what a match says of method and path, such as "GET or PUT /cart/{id}". */
export function methodsAndPath(r: Route): string {
  const methods = listOf(r.match.method).join(t('or'))
  const path = r.match.path || (methods === '' ? '' : t('anyPath'))
  return [methods, path].filter(Boolean).join(' ')
}

/** matchWords says which requests a route takes, in one line. */
export function matchWords(r: Route): string {
  const hosts = listOf(r.match.host).join(t('or'))
  const what = methodsAndPath(r) || t('anyRequest')
  const where = hosts === '' ? what : t('on', { what, where: hosts })
  const headers = (r.match.header ?? []).map(headerWords).join(t('and'))
  return headers === '' ? where : t('withHeaders', { what: where, headers })
}

export function headerWords(h: HeaderMatch): string {
  if (h.equals) return t('headerEquals', { name: h.name, value: h.equals })
  if (h.regex) return t('headerRegex', { name: h.name, value: h.regex })
  return h.absent ? t('headerAbsent', { name: h.name }) : t('headerPresent', { name: h.name })
}

/** upstreamText is all that a list is filtered by of where a route goes. */
export function upstreamText(r: Route): string {
  const u = r.upstream
  if (u.dubbo) return `${u.dubbo.app} ${u.dubbo.interface}.${u.dubbo.method}`
  return u.app || u.url || t('noUpstream')
}

const kindWords = {
  stripPrefix: 'kStripPrefix', addPrefix: 'kAddPrefix', setPath: 'kSetPath', rewrite: 'kRewrite', requestHeaders: 'kRequestHeaders', responseHeaders: 'kResponseHeaders',
  hostHeader: 'kHostHeader', timeout: 'kTimeout', retry: 'kRetry', breaker: 'kBreaker', fallback: 'kFallback', bodyLimit: 'kBodyLimit',
} as const satisfies Record<FilterKind, string>

export function kindWord(k: FilterKind): string {
  return t(kindWords[k])
}

/** filterWords says what a filter does. */
export function filterWords(f: Filter): string {
  const kind = kindOf(f)
  switch (kind) {
    case 'stripPrefix':
      return t('fStripPrefix', { n: f.stripPrefix ?? 0 })
    case 'addPrefix':
      return t('fAddPrefix', { path: f.addPrefix ?? '' })
    case 'setPath':
      return t('fSetPath', { path: f.setPath ?? '' })
    case 'rewrite':
      return t('fRewrite', { regex: f.rewrite?.regex ?? '', with: f.rewrite?.with || '“”' })
    case 'requestHeaders':
      return t('fRequestHeaders', { what: editWords(f.requestHeaders) })
    case 'responseHeaders':
      return t('fResponseHeaders', { what: editWords(f.responseHeaders) })
    case 'hostHeader':
      return f.hostHeader === 'preserve' ? t('fHostPreserve') : f.hostHeader === 'upstream' ? t('fHostUpstream') : t('fHostName', { name: f.hostHeader ?? '' })
    case 'timeout': {
      const d = f.timeout ?? {}
      return t('fTimeout', { what: said(d.total && t('tTotal', { d: d.total }), d.perTry && t('tPerTry', { d: d.perTry }), d.idle && t('tIdle', { d: d.idle })) })
    }
    case 'retry': {
      const r = f.retry ?? { attempts: 1 }
      const on = listOf(r.on)
      const methods = listOf(r.methods)
      const text = t('fRetry', { n: r.attempts, on: (on.length === 0 ? ['connect'] : on).map(onWords).join(t('or')), budget: r.budgetPercent || 20 })
      return methods.length === 0 ? text : text + t('retryMethods', { methods: methods.join(', ') })
    }
    case 'breaker': {
      const b = f.breaker ?? {}
      const what = said(
        b.errorPercent && t('bErrors', { n: b.errorPercent }),
        b.minCalls && t('bMinCalls', { n: b.minCalls }),
        b.window && t('bWindow', { d: b.window }),
        b.openFor && t('bOpenFor', { d: b.openFor }),
        b.probes && t('bProbes', { n: b.probes }),
        b.concurrent && t('bConcurrent', { n: b.concurrent }),
      )
      return t('fBreaker', { what: what || t('bDefaults') })
    }
    case 'fallback':
      return t('fFallback', { status: String(f.fallback?.status ?? ''), also: f.fallback?.on5xx ? t('also5xx') : '' })
    case 'bodyLimit':
      return t('fBodyLimit', { size: format.bytes(f.bodyLimit ?? 0) })
    default:
      return t('fUnknown')
  }
}

function editWords(e: Filter['requestHeaders']): string {
  return said(
    e?.remove?.length && t('hRemove', { names: e.remove.join(', ') }),
    e?.set && t('hSet', { names: Object.keys(e.set).join(', ') }),
    e?.add && t('hAdd', { names: Object.keys(e.add).join(', ') }),
  )
}

function onWords(on: string): string {
  if (on === 'connect') return t('onConnect')
  if (on === 'reset') return t('onReset')
  if (on === 'timeout') return t('onTimeout')
  return t('onStatus', { status: on })
}

function said(...parts: (string | number | undefined)[]): string {
  return parts.filter((p) => typeof p === 'string' && p !== '').join(', ')
}

/** unknownFilter reports whether a filter does what this console has no words for. */
export function unknownFilter(f: Filter): boolean {
  return !filterKinds.some((k) => f[k] !== undefined)
}
