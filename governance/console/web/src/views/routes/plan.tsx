// What a change would do, and what became of it at the gateways.
import { Link } from 'wouter-preact'
import { useGet } from '~/api/query'
import { Said } from '~/said'
import { Badge, Notice, type Tone } from '~/ui/basic'
import { Ago } from '~/ui/time'
import { keyText, routePath } from '~/views/routes/route'
import { t } from '~/views/routes/editwords'
import { changedKey, valueText, type Result } from '~/views/routes/write'

const actions = {
  create: { word: 'planCreate', tone: 'ok' },
  update: { word: 'planUpdate', tone: 'info' },
  delete: { word: 'planDelete', tone: 'bad' },
  none: { word: 'planNone', tone: 'idle' },
} as const satisfies Record<string, { word: Parameters<typeof t>[0]; tone: Tone }>

/** Plan shows what a rehearsal found. onField leads to a field of the document, where there is one. */
export function Plan({ result, onField }: { result: Result; onField?: (field: string) => void }) {
  return (
    <div class="stack tight">
      {result.changes.map((c) => (
        <div key={keyText(c.route)} class="stack tight">
          <div class="row tight">
            <Badge tone={actions[c.action].tone} icon={c.action === 'create' ? 'plus' : undefined}>
              {t(actions[c.action].word)}
            </Badge>
            <strong>{keyText(c.route)}</strong>
            {c.before !== undefined && c.action !== 'none' && <span class="muted">{t('replaces', { revision: String(c.before) })}</span>}
          </div>
          {(c.fields ?? []).length > 0 && (
            <div class="table-wrap">
              <table class="table stacks" aria-label={t('differences')}>
                <thead>
                  <tr>
                    <th scope="col">{t('field')}</th>
                    <th scope="col">{t('before')}</th>
                    <th scope="col">{t('after')}</th>
                  </tr>
                </thead>
                <tbody>
                  {(c.fields ?? []).map((f) => (
                    <tr key={f.field}>
                      <td>
                        <code>{f.field}</code>
                      </td>
                      <td data-label={t('before')}>{f.before === undefined ? <span class="muted">{t('nothing')}</span> : <code class="del">{valueText(f.before)}</code>}</td>
                      <td data-label={t('after')}>{f.after === undefined ? <span class="muted">{t('nothing')}</span> : <code class="add">{valueText(f.after)}</code>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </div>
      ))}
      {(result.warnings ?? []).map((w, i) => (
        <Notice
          key={`w${i}`}
          tone="warn"
          action={
            w.field && onField ? (
              <button type="button" class="btn small" onClick={() => onField(w.field ?? '')}>
                {t('toField')}
              </button>
            ) : undefined
          }
        >
          {w.field && <code>{w.field}</code>} <Said text={w.message} />
        </Notice>
      ))}
      {(result.findings ?? []).map((f, i) => (
        <Notice key={`f${i}`} tone="warn">
          <Link href={routePath(keyText(f.route))}>{keyText(f.route)}</Link>: <Said text={f.message} />
        </Notice>
      ))}
      {result.unfinished && <p class="muted">{t('planUnfinished')}</p>}
    </div>
  )
}

/** Confirmation shows, gateway by gateway, who serves what was written, and goes on until all do. */
export function Confirmation({ result }: { result: Result }) {
  const key = changedKey(result)
  const gateways = useGet('/api/v1/gateways', undefined, { every: 2_000 })
  const nodes = gateways.data?.items ?? result.gateways ?? []
  const gone = result.changes[0]?.action === 'delete'
  const fault = (n: (typeof nodes)[number]) => (n.quarantined ?? []).find((q) => keyText(q.route) === key && q.revision >= result.revision)
  const serving = nodes.filter((n) => n.revision >= result.revision && !fault(n))
  const all = nodes.length > 0 && serving.length === nodes.length
  return (
    <Notice tone={all ? 'ok' : 'warn'} live>
      <div class="stack tight">
        <div>
          {t(gone ? 'deletedText' : 'written', { route: key, revision: String(result.revision) })}{' '}
          {nodes.length === 0 ? t('noGateways') : t(gone ? 'followedBy' : 'servedBy', { serving: serving.length, gateways: nodes.length })}
        </div>
        {nodes.length > 0 && (
          <ul class="rt-confirm">
            {nodes.map((n) => {
              const q = fault(n)
              return (
                <li key={n.name} class="row tight">
                  <Badge tone={q ? 'bad' : n.revision >= result.revision ? 'ok' : 'idle'} icon={!q && n.revision < result.revision ? 'clock' : undefined}>
                    {q ? t('gwQuarantined') : n.revision >= result.revision ? t(gone ? 'gwFollows' : 'gwServes') : t('gwWaiting', { revision: String(n.revision) })}
                  </Badge>
                  {n.name} <span class="muted"><Ago at={n.seen} /></span>
                  {q && <span class="bad-text"><Said text={q.reason} /></span>}
                </li>
              )
            })}
          </ul>
        )}
      </div>
    </Notice>
  )
}
