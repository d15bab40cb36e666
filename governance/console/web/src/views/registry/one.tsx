import { Link } from 'wouter-preact'
import type { Schemas } from '~/api/client'
import { useGet } from '~/api/query'
import { appPath, link, useAddress } from '~/app/address'
import type { ViewProps } from '~/app/views'
import { words as shared } from '~/app/words'
import * as format from '~/i18n/format'
import { Said, say } from '~/said'
import { Badge, Card, Facts, Notice } from '~/ui/basic'
import { Copy } from '~/ui/copy'
import { Page } from '~/ui/page'
import { Empty, Loaded } from '~/ui/state'
import { Table, type Column } from '~/ui/table'
import { Ago, Time } from '~/ui/time'
import { Callable, CalledBy, ClusterChoice, Held, InClusters, NoInterfaces } from '~/views/registry/parts'
import { words as w } from '~/views/registry/words'

type Instance = Schemas['RegistryApiInstance']
type Interface = Schemas['RegistryApiInterface']

export default function RegistryApp({ params }: ViewProps) {
  const [namespace = '', name = ''] = [params.ns, params.name]
  const address = useAddress()
  const wanted = address.get('instance')
  const cluster = address.get('cluster')
  const query = useGet('/api/v1/registry/{namespace}/{name}', { path: { namespace, name }, query: { cluster } }, { every: 3_000 })
  const app = `${namespace}/${name}`
  return (
    <Page
      title={app}
      crumbs={[{ text: shared('registry'), to: '/registry' }]}
      actions={
        <>
          <Link class="btn" href={appPath(app)}>
            {w('traffic')}
          </Link>
          <Link class="btn" href={link('/policies', { app })}>
            {w('toPolicies')}
          </Link>
        </>
      }
    >
      {query.error?.status === 404 ? (
        <Empty icon="registry" title={w('never', { app })} action={<Link class="btn" href="/registry">{w('toList')}</Link>}>
          {w('neverHint')}
        </Empty>
      ) : (
        <Loaded query={query}>
          {(d) => {
            const chosen = d.instances.find((i) => i.name === wanted || i.id === wanted)
            return (
              <>
                {d.stale && <Notice tone="warn">{w(d.clusters && !cluster ? 'someStale' : 'stale', { time: format.time(d.stale) })}</Notice>}
                {d.counts.kept > 0 && <Notice tone="warn">{w('keptNotice', { n: d.counts.kept })}</Notice>}
                <Card>
                  <Facts
                    items={[
                      [w('instances'), <Callable key="c" callable={d.counts.callable} kept={d.counts.kept} standby={d.counts.standby} instances={d.counts.instances} />],
                      d.clusters && [w('clusters'), <InClusters key="k" counts={d.counts.clusters} order={d.clusters} />],
                      d.counts.held > 0 && [w('held'), <Held key="h" held={d.counts.heldBack} />],
                      [w('mode'), <CalledBy key="m" mode={d.mode} modeFrom={d.modeFrom} choice={d.choice} choiceFrom={d.choiceFrom} />],
                      [w('service'), d.service.headless ? w('headless') : d.service.host ? <><code>{d.service.host}</code> <Copy text={d.service.host} /></> : w('noService')],
                      d.service.ports.length > 0 && [w('ports'), d.service.ports.map((p) => `${p.name ? `${p.name} ` : ''}${p.port}→${p.target}`).join(', ')],
                      [w('observed'), <><Ago at={d.observed} /> <span class="muted">({w('generation', { n: d.generation })})</span></>],
                    ]}
                  />
                </Card>
                <Card flush title={w('instances')} actions={d.clusters && <ClusterChoice clusters={d.clusters} />}>
                  <Table label={w('instances')} columns={instanceColumns(d.clusters !== undefined)} rows={d.instances} rowKey={(i) => i.id} selected={(i) => i === chosen} empty={<Empty title={w('noInstances')} />} />
                  {d.leftOut ? <p class="state">{w('leftOut', { n: d.leftOut })}</p> : null}
                </Card>
                {chosen ? <One instance={chosen} /> : wanted ? <Gone namespace={namespace} name={name} instance={wanted} /> : d.instances.length > 0 && <p class="muted">{w('pick')}</p>}
                <Card flush title={w('interfaces')}>
                  {d.undescribed?.map((u) => (
                    <Notice key={u.revision} tone="warn">
                      {w('undescribed', { revision: u.revision, n: u.instances, why: say(u.why) })}
                    </Notice>
                  ))}
                  <Table label={w('interfaces')} param="isort" columns={interfaceColumns()} rows={d.interfaces} rowKey={(i) => `${i.group ?? ''}/${i.name}:${i.version ?? ''}`} empty={<NoInterfaces ports={d.service.ports} unregistered={d.instances.length > 0 && !d.instances.some((i) => i.revision)} />} />
                </Card>
              </>
            )
          }}
        </Loaded>
      )}
    </Page>
  )
}

function instanceColumns(clustered: boolean): Column<Instance>[] {
  return [
    { key: 'name', label: w('name'), cell: (i) => <Pick instance={i} />, sort: (i) => i.name, class: 'name' },
    ...(clustered ? [{ key: 'cluster', label: w('cluster'), cell: (i: Instance) => i.cluster ?? '–', sort: (i: Instance) => i.cluster }] : []),
    { key: 'state', label: w('state'), cell: (i) => <InstanceState instance={i} />, sort: (i) => (i.callable ? (i.kept ? 1 : 2) : 0) },
    { key: 'why', label: w('why'), cell: (i) => <Why instance={i} />, class: 'name' },
    { key: 'address', label: w('address'), cell: (i) => <code>{i.host || '–'}</code>, sort: (i) => i.host },
    { key: 'endpoints', label: w('endpoints'), cell: (i) => i.endpoints.map((e) => `${e.protocol} ${e.port}`).join(', ') || '–' },
    { key: 'tag', label: w('tag'), cell: (i) => i.tag ?? <span class="muted">–</span>, sort: (i) => i.tag },
    { key: 'weight', label: w('weight'), cell: (i) => format.count(i.weight), sort: (i) => i.weight, end: true },
    { key: 'started', label: w('started'), cell: (i) => <Ago at={i.started} />, sort: (i) => (i.started ? Date.parse(i.started) : undefined) },
  ]
}

function Pick({ instance }: { instance: Instance }) {
  const address = useAddress()
  return <Link href={address.with({ instance: instance.name || instance.id })}>{instance.name || instance.id}</Link>
}

/** Why an instance is not called, or is called all the same, in so few words that many fit below one another. */
function Why({ instance: i }: { instance: Instance }) {
  const text = i.problem ?? i.why
  if (!text && i.kept) return <>{w(i.kept.because === 'unlisted' ? 'keptUnlisted' : 'keptNotReady', { time: format.time(i.kept.until), lost: i.kept.lost, of: i.kept.of })}</>
  const said = text ?? i.warning
  return said ? <Said text={said} /> : <span class="muted">–</span>
}

function InstanceState({ instance: i }: { instance: Instance }) {
  const word = i.kept ? w('kept') : i.state === 'draining' ? w('draining') : i.health !== 'ready' ? w(i.health) : undefined
  return (
    <Badge tone={i.callable ? (i.warning || i.kept ? 'warn' : 'ok') : i.standby ? 'idle' : 'bad'}>
      {i.callable ? w('called') : i.standby ? w('standsBy') : w('notCalled')}
      {word && `: ${word}`}
    </Badge>
  )
}

/** One explains an instance, check by check. */
function One({ instance: i }: { instance: Instance }) {
  return (
    <Card title={w('explainTitle', { name: i.name || i.id, verdict: w(i.callable ? 'verdictIn' : 'verdictOut') })}>
      <div class="stack">
        <Findings items={i.explain} />
        <Facts
          items={[
            [w('health'), w(i.health)],
            [w('weight'), format.count(i.weight)],
            i.cluster ? [w('cluster'), i.cluster] : undefined,
            i.zone ? [w('zone'), i.zone] : undefined,
            i.node ? [w('node'), i.node] : undefined,
            i.revision ? [w('revision'), <code key="r">{i.revision}</code>] : undefined,
            i.started ? [w('started'), <Time key="s" at={i.started} />] : undefined,
          ]}
        />
        <h3>{w('metadata')}</h3>
        {Object.keys(i.metadata).length === 0 ? (
          <p class="muted">{w('noMetadata')}</p>
        ) : (
          <Facts items={Object.entries(i.metadata).map(([k, v]) => [<code key={k}>{k}</code>, <code key={`${k}=`}>{v}</code>])} />
        )}
      </div>
    </Card>
  )
}

function Gone({ namespace, name, instance }: { namespace: string; name: string; instance: string }) {
  const query = useGet('/api/v1/registry/{namespace}/{name}', { path: { namespace, name }, query: { instance } })
  return (
    <Card title={w('missing', { name: instance })}>
      <Loaded query={query}>{(d) => <Findings items={d.missing ?? []} />}</Loaded>
    </Card>
  )
}

function Findings({ items }: { items: Schemas['RegistryApiFinding'][] }) {
  return (
    <Table
      label={w('check')}
      param="fsort"
      rows={items}
      rowKey={(f) => f.check}
      columns={[
        { key: 'check', label: w('check'), cell: (f) => <CheckName finding={f} /> },
        { key: 'found', label: w('found'), cell: (f) => <Said text={f.detail} /> },
      ]}
    />
  )
}

function CheckName({ finding: f }: { finding: Schemas['RegistryApiFinding'] }) {
  const key = `check.${f.check}`
  const effect = `effect.${f.effect ?? 'none'}`
  return (
    <span class="row tight">
      <Badge tone={f.ok ? 'ok' : f.effect === 'none' ? 'warn' : 'bad'}>{f.ok ? shared('yes') : shared('no')}</Badge>
      {w.has(key) ? w(key) : f.check}
      {!f.ok && w.has(effect) && <span class="muted">({w(effect)})</span>}
    </span>
  )
}

function interfaceColumns(): Column<Interface>[] {
  return [
    { key: 'name', label: w('interface'), cell: (i) => <code>{i.name}</code>, sort: (i) => i.name, class: 'name' },
    { key: 'group', label: w('group'), cell: (i) => i.group || <span class="muted">–</span>, sort: (i) => i.group },
    { key: 'version', label: w('version'), cell: (i) => i.version || <span class="muted">–</span>, sort: (i) => i.version },
    { key: 'protocols', label: w('protocols'), cell: (i) => i.protocols.join(', ') },
    { key: 'methods', label: w('methods'), cell: (i) => (i.methods?.length ? <ul>{i.methods.map((m) => <li key={m}><code>{m}</code></li>)}</ul> : <span class="muted">–</span>), class: 'name' },
    { key: 'instances', label: w('offeredBy'), cell: (i) => format.count(i.instances), sort: (i) => i.instances, end: true },
  ]
}
