import type { Schemas } from '~/api/client'
import { link, type Patch } from '~/app/address'
import { words as shared } from '~/app/words'
import { say } from '~/said'
import { Badge, Notice } from '~/ui/basic'
import { Empty } from '~/ui/state'
import { words as w } from '~/views/registry/words'

/** registryPath is the address of an application in the registry. */
export function registryPath(app: Schemas['RegistryApp'], params: Patch = {}): string {
  return link(`/registry/${encodeURIComponent(app.namespace)}/${encodeURIComponent(app.name)}`, params)
}

export function modeWord(mode: string): string {
  return w(mode === 'service' ? 'modeService' : 'modePod')
}

/** Callable says how many of an application's instances get calls, and how many of those are kept though they are not ready. */
export function Callable({ callable, kept, instances }: { callable: number; kept: number; instances: number }) {
  if (instances === 0) return <Badge tone="idle">{w('noInstances')}</Badge>
  if (kept > 0)
    return (
      <Badge tone="warn" title={w('keptHint')}>
        {w('callable', { n: callable, of: instances })}, {w('keptOf', { n: kept })}
      </Badge>
    )
  if (callable === instances) return <Badge tone="ok">{w('allCalled', { n: instances })}</Badge>
  return <Badge tone={callable === 0 ? 'bad' : 'warn'}>{w('callable', { n: callable, of: instances })}</Badge>
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
