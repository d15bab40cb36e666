// What a version did to the calls it is about: charts around its moment, and the
// figures before and after, each merged over its whole time.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { appPath, useAddress } from '~/app/address'
import { words as shared } from '~/app/words'
import { useMemo } from 'preact/hooks'
import { TimeChart } from '~/charts/TimeChart'
import type { Mark } from '~/charts/types'
import { lang } from '~/i18n'
import * as format from '~/i18n/format'
import { keyOf, parts, policyPath, shortCommand, type Confirmation, type Version } from '~/policy/model'
import { serverNow } from '~/policy/parts'
import { Card, Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { Loaded } from '~/ui/state'
import { changeOf, commandsOf, lines, moments, sources, totalOf, type Span } from '~/views/policies/moments'
import { words as w } from '~/views/policies/words'

const iso = (s: Span) => ({ from: new Date(s.from).toISOString(), to: new Date(s.to).toISOString() })

export function Effect({ version, versions, confirmation }: { version: Version; versions: readonly Version[]; confirmation: Confirmation | undefined }) {
  const address = useAddress()
  // The time after grows, in steps, while the version is young.
  const now = Math.floor(serverNow() / 10_000) * 10_000
  const m = moments(version, versions, now)
  const all = sources(version.policy, confirmation)
  const source = all.find((s) => s.app === address.get('caller')) ?? all[0]
  const target = version.policy.target
  const at = source?.at ?? 'provider'
  const path = parts(source?.app ?? target.app)
  const some = source !== undefined && m.after.to - m.after.from >= 1000
  const whole = useGet('/api/v1/apps/{namespace}/{name}/commands', { path, query: iso(m.whole) }, { enabled: source !== undefined, keep: true })
  const before = useGet('/api/v1/apps/{namespace}/{name}/commands', { path, query: iso(m.before) }, { enabled: source !== undefined, staleTime: 60_000 })
  const after = useGet('/api/v1/apps/{namespace}/{name}/commands', { path, query: iso(m.after) }, { enabled: some })
  const commands = source && whole.data ? commandsOf(whole.data.items, source, target.command) : []
  const said = address.get('command')
  const command = target.command ? (commands[0] ?? shortCommand(target.command)) : (commands.find((c) => c === said) ?? commands[0])
  const series = useGet(
    '/api/v1/apps/{namespace}/{name}/series',
    { path, query: { command: command ?? '', at, ...(source?.peer ? { peer: source.peer } : {}), ...iso(m.whole), step: '10s' } },
    { enabled: source !== undefined && command !== undefined },
  )
  const step = series.data ? format.goDuration(series.data.step) / 1000 : 10
  const drawn = useMemo(() => lines(series.data?.points ?? [], step, format.goDuration), [series.data, step, lang.value])
  const marks: Mark[] = versions
    .filter((v) => Date.parse(v.created) >= m.whole.from && Date.parse(v.created) <= m.whole.to)
    .map((v) => ({
      time: Date.parse(v.created) / 1000,
      kind: v.deleted ? 'release' : v.policy.kind === 'switch' ? 'switch' : 'policy',
      label: v.deleted ? w('markDeleted', { reason: v.reason }) : w('markVersion', { version: v.version, reason: v.reason }),
      to: `${policyPath(keyOf(v.policy))}?version=${v.version}`,
    }))
  const chart = { times: drawn.times, from: m.whole.from / 1000, to: m.whole.to / 1000, step, marks, sync: 'effect', empty: w('effectNone') }
  const what = `${target.app}${command ? ` ${command}` : ''}`
  return (
    <Card title={w('effect')} actions={command && source && <Link href={appPath(source.app, { command, at: source.at === 'caller' ? 'caller' : undefined, peer: source.peer, from: m.whole.from, to: m.whole.to })}>{w('chartOpen')}</Link>}>
      <div class="stack">
        <p class="muted">{w('effectLead', { what, version: version.version })}</p>
        {(!target.command && commands.length > 1) || all.length > 1 ? (
          <div class="row">
            {!target.command && commands.length > 1 && (
              <Choose label={w('effectCommand')} value={command ?? ''} options={commands} set={(v) => address.set({ command: v }, { replace: true })} />
            )}
            {all.length > 1 && <Choose label={w('effectCaller')} value={source?.app ?? ''} options={all.map((s) => s.app)} set={(v) => address.set({ caller: v }, { replace: true })} />}
          </div>
        ) : null}
        {[before, after, series].some((q) => q.data?.cut) && <Notice tone="warn">{shared('cut')}</Notice>}
        <Loaded query={before}>
          {() => {
            if (!source) return null
            const [b, a] = [totalOf(before.data?.items, source, command), some ? totalOf(after.data?.items, source, command) : undefined]
            return (
              <div class="table-wrap">
                <table class="table figures" aria-label={w('effect')}>
                  <thead>
                    <tr>
                      <th scope="col">{w('figure')}</th>
                      <th scope="col" class="end">
                        {w('before')}
                      </th>
                      <th scope="col" class="end">
                        {w('after')}
                      </th>
                      <th scope="col" class="end">
                        {w('change')}
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    <Row label={w('calls')} a={b?.rate} b={a?.rate} write={format.rate} />
                    <Row label={w('errors')} a={b?.errorPercent} b={a?.errorPercent} write={format.percent} points />
                    <Row label={w('refused')} a={b?.refusedPercent} b={a?.refusedPercent} write={format.percent} points />
                    <Row label={w('p50')} a={b?.p50Ms} b={a?.p50Ms} write={format.ms} />
                    <Row label={w('p99')} a={b?.p99Ms} b={a?.p99Ms} write={format.ms} />
                  </tbody>
                </table>
              </div>
            )
          }}
        </Loaded>
        {command === undefined ? (
          <p class="muted">{w('effectNone')}</p>
        ) : (
          <Loaded query={series}>
            {() => (
              <div class="grid2">
                <TimeChart
                  {...chart}
                  title={w('callsChart')}
                  format={format.rate}
                  series={[
                    { label: w('ran'), values: drawn.ran, color: '--c1', fill: true },
                    { label: w('failed'), values: drawn.failed, color: '--bad' },
                    { label: w('refused'), values: drawn.refused, color: '--forced', dash: true },
                  ]}
                />
                <TimeChart
                  {...chart}
                  title={w('latencyChart')}
                  format={format.ms}
                  series={[
                    { label: w('p50'), values: drawn.p50, color: '--c3' },
                    { label: w('p99'), values: drawn.p99, color: '--c2', dash: true },
                  ]}
                />
              </div>
            )}
          </Loaded>
        )}
      </div>
    </Card>
  )
}

function Row({ label, a, b, write, points }: { label: string; a: number | undefined; b: number | undefined; write: (v: number | undefined) => string; points?: boolean }) {
  const change = changeOf(a, b, points)
  return (
    <tr>
      <th scope="row">{label}</th>
      <td class="end">{write(a)}</td>
      <td class="end">{write(b)}</td>
      <td class="end">{change === undefined ? '–' : points ? w('points', { n: change }) : `${change} %`}</td>
    </tr>
  )
}

function Choose({ label, value, options, set }: { label: string; value: string; options: string[]; set: (v: string) => void }) {
  return (
    <Field label={label}>
      {(f) => (
        <select {...f} class="select" value={value} onChange={(e) => set(e.currentTarget.value)}>
          {options.map((o) => (
            <option key={o} value={o}>
              {o}
            </option>
          ))}
        </select>
      )}
    </Field>
  )
}
