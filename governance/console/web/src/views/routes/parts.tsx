// Small parts that the views on routes share.
import { Link } from 'wouter-preact'
import { appPath } from '~/app/address'
import * as format from '~/i18n/format'
import { Badge } from '~/ui/basic'
import { States } from '~/ui/circuit'
import { dubboCommand, gatewayApp, listOf, type Route } from '~/views/routes/route'
import { headerWords, methodsAndPath } from '~/views/routes/say'
import { heldOf, heldWords, type RouteStatus, type Trouble, type UpstreamStatus } from '~/views/routes/status'
import { t } from '~/views/routes/words'

/** Takes shows which requests a route takes. */
export function Takes({ route }: { route: Route }) {
  const hosts = listOf(route.match.host)
  const headers = route.match.header ?? []
  return (
    <span class="rt-takes">
      <code>{methodsAndPath(route) || t('anyRequest')}</code>
      {hosts.length > 0 && <code class="muted">{hosts.join(t('or'))}</code>}
      {headers.length > 0 && <span class="muted">{headers.map(headerWords).join(t('and'))}</span>}
    </span>
  )
}

/** Goes shows where a route sends its requests. */
export function Goes({ route }: { route: Route }) {
  const u = route.upstream
  if (u.dubbo) {
    return (
      <span class="rt-takes">
        <Link href={appPath(u.dubbo.app)}>{u.dubbo.app}</Link>
        <span class="muted" title={`${u.dubbo.interface}.${u.dubbo.method}`}>
          {t('dubboCall', { method: dubboCommand(route) ?? '' })}
        </span>
      </span>
    )
  }
  if (u.app) {
    return (
      <span class="rt-takes">
        <Link href={appPath(u.app)}>{u.app}</Link>
        {u.port && <span class="muted">{t('port', { port: u.port })}</span>}
      </span>
    )
  }
  return u.url ? <code>{u.url}</code> : <span class="bad-text">{t('noUpstream')}</span>
}

export function Troubles({ troubles, most = 3 }: { troubles: readonly Trouble[]; most?: number }) {
  const kinds = [...new Map(troubles.map((x) => [x.kind, x])).values()]
  return (
    <>
      {kinds.slice(0, most).map((x) => (
        <Badge key={x.kind} tone={x.tone} title={troubles.filter((y) => y.kind === x.kind).map((y) => y.text).join('\n')}>
          {x.word}
        </Badge>
      ))}
      {kinds.length > most && <span class="muted">+{kinds.length - most}</span>}
    </>
  )
}

/** Circuits shows a route's circuit; one without a breaker is always off, which is no news. */
export function Circuits({ route, states }: { route: string; states: Record<string, number> | undefined }) {
  const on = Object.entries(states ?? {}).some(([s, n]) => n > 0 && s !== 'disabled')
  if (!on) return <span class="muted">{t('noBreaker')}</span>
  return (
    <Link href={appPath(gatewayApp, { tab: 'commands', command: route, at: 'caller' })} class="rt-plain">
      <States states={states} />
    </Link>
  )
}

export function EndpointsOf({ upstreams }: { upstreams: readonly UpstreamStatus[] }) {
  if (upstreams.length === 0) return <span class="muted">–</span>
  return (
    <span class="rt-takes end">
      {upstreams.map((u) => (
        <span key={u.app} title={u.held.length > 0 ? heldWords(u) : undefined}>
          {u.known === undefined || (u.known && u.hidden) ? (
            '–'
          ) : (
            <Link href={`/registry/${u.app}`} class={u.known && u.callable > 0 ? undefined : 'bad-text'}>
              {u.known ? t('callable', { callable: u.callable, instances: u.instances }) : t('unknownApp')}
            </Link>
          )}
          {u.held.length > 0 && <span class="warn-text"> {t('held', { n: heldOf(u) })}</span>}
          {u.stale && <span class="warn-text" title={t('staleHint', { time: format.time(u.stale) })}> {t('stale')}</span>}
        </span>
      ))}
    </span>
  )
}

export function GatewaysOf({ status }: { status: RouteStatus }) {
  const all = status.serving === status.gateways && status.gateways > 0
  return <span class={all ? undefined : 'warn-text'}>{t('ofGateways', { serving: status.serving, gateways: status.gateways })}</span>
}
