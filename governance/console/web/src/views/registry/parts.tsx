import type { Schemas } from '~/api/client'
import { link, useAddress, type Patch } from '~/app/address'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { say } from '~/said'
import { Badge, Notice } from '~/ui/basic'
import { Empty } from '~/ui/state'
import { words as w } from '~/views/registry/words'

/** registryPath is the address of an application in the registry. */
export function registryPath(app: Schemas['RegistryApp'], params: Patch = {}): string {
  return link(`/registry/${encodeURIComponent(app.namespace)}/${encodeURIComponent(app.name)}`, params)
}

function modeWord(mode: string): string {
  return w(mode === 'service' ? 'modeService' : 'modePod')
}

/** CalledBy says how an application asks to be called and, where that is said, by which registry consumers that use ZooKeeper, too, call it first; brief where there is no room for what asks for it. */
export function CalledBy({ mode, modeFrom, choice, choiceFrom, brief }: Pick<Schemas['RegistryApiApp'], 'mode' | 'modeFrom' | 'choice' | 'choiceFrom'> & { brief?: boolean }) {
  const part = (text: string, from: string | undefined) =>
    brief ? <span title={from && w('modeFrom', { from: say(from) })}>{text}</span> : <>{text} {from && <span class="muted">({w('modeFrom', { from: say(from) })})</span>}</>
  return (
    <>
      {part(modeWord(mode), modeFrom)}
      {choice && <div>{part(w(`choice.${choice}`), choiceFrom)}</div>}
    </>
  )
}

/** Callable says how many of an application's instances get calls, and how many of those are kept though they are not ready. */
export function Callable({ callable, kept, standby, instances }: { callable: number; kept: number; standby: number; instances: number }) {
  if (instances === 0) return <Badge tone="idle">{w('noInstances')}</Badge>
  const aside = standby > 0 ? w('standbyOf', { n: standby }) : ''
  if (kept > 0)
    return (
      <Badge tone="warn" title={w('keptHint')}>
        {w('callable', { n: callable, of: instances })}, {w('keptOf', { n: kept })}
        {aside}
      </Badge>
    )
  if (callable === instances) return <Badge tone="ok">{w('allCalled', { n: instances })}</Badge>
  return (
    <Badge tone={callable === 0 ? 'bad' : callable + standby === instances ? 'ok' : 'warn'} title={standby > 0 ? w('standbyHint') : undefined}>
      {w('callable', { n: callable, of: instances })}
      {aside}
    </Badge>
  )
}

/** InClusters says how many instances each cluster has, and how many of them are called, in the clusters' own order; brief where it is said elsewhere how many stand by. */
export function InClusters({ counts, order, brief }: { counts: Schemas['RegistryClusterCount'][] | undefined; order: string[]; brief?: boolean }) {
  const sorted = [...(counts ?? [])].sort((a, b) => order.indexOf(a.cluster) - order.indexOf(b.cluster))
  if (sorted.length === 0) return <span class="muted">–</span>
  return (
    <ul>
      {sorted.map((c) => (
        <li key={c.cluster} class="nowrap" title={c.standby ? w('standbyHint') : undefined}>
          {w('inCluster', { cluster: c.cluster, n: c.callable, of: c.instances })}
          {c.standby && !brief ? w('standbyOf', { n: c.standby }) : ''}
        </li>
      ))}
    </ul>
  )
}

/** Doubts says why a list may not be whole, or not be new: of each cluster that is looked at, and each reason once. */
export function Doubts({ list, cluster }: { list: Pick<Schemas['RegistryApiList'], 'clusters' | 'stale' | 'unknown'>; cluster?: string }) {
  // What is wrong with a cluster that nobody looks at is missing nowhere here.
  const clusters = list.clusters?.filter((c) => !cluster || c.name === cluster)
  return (
    <>
      {clusters?.map((c) =>
        c.unknown ? (
          <Notice key={c.name} tone="warn">{w('clusterUnknown', { cluster: c.name, why: say(c.unknown) })}</Notice>
        ) : c.stale ? (
          <Notice key={c.name} tone="warn">{w('clusterStale', { cluster: c.name, time: format.time(c.stale) })}</Notice>
        ) : null,
      )}
      {!clusters && list.stale && <Notice tone="warn">{w('stale', { time: format.time(list.stale) })}</Notice>}
      {list.unknown && !clusters?.some((c) => c.unknown === list.unknown) && <Notice tone="warn">{w('unknown', { why: say(list.unknown) })}</Notice>}
    </>
  )
}

/** ClusterChoice narrows a view to one of several clusters, as that one knows it by itself. */
export function ClusterChoice({ clusters }: { clusters: string[] }) {
  const address = useAddress()
  if (clusters.length === 0) return null
  return (
    <select class="select auto" aria-label={w('cluster')} value={address.get('cluster') ?? ''} onChange={(e) => address.set({ cluster: e.currentTarget.value || undefined, instance: undefined }, { replace: true })}>
      <option value="">{w('allClusters')}</option>
      {clusters.map((c) => (
        <option key={c} value={c}>
          {c}
        </option>
      ))}
    </select>
  )
}

export function Held({ held }: { held: Schemas['RegistryHeld'][] }) {
  return (
    <ul>
      {held.map((h) => (
        <li key={h.why}>{w('heldBack', { n: h.instances, why: say(h.why) })}</li>
      ))}
    </ul>
  )
}

/** NoInterfaces stands where an application describes no Dubbo interface: an HTTP service has none, but one whose Service has a port for Dubbo should. */
export function NoInterfaces({ ports, unregistered }: { ports: { name?: string }[]; unregistered: boolean }) {
  const port = ports.find((p) => /^(dubbo|tri)/.test(p.name ?? ''))?.name
  if (!port || !unregistered) return <Empty title={shared('none')}>{w('noInterfaces')}</Empty>
  return <Notice tone="warn">{w('notRegistered', { port })}</Notice>
}
