import { memo } from 'preact/compat'
import { Link } from 'wouter-preact'
import type { Schemas } from '~/api/client'
import * as format from '~/i18n/format'
import { Badge } from '~/ui/basic'
import { Icon } from '~/ui/icons'
import { Ago, Time } from '~/ui/time'
import { words as w } from './words'

export type Trace = Schemas['TracingQueryTraceSummary']

export const orders = ['newest', 'longest', 'mostSpans', 'mostErrors'] as const
export type Order = (typeof orders)[number]

const measure: Record<Order, (t: Trace) => number> = { newest: (t) => t.start, longest: (t) => t.duration, mostSpans: (t) => t.spans, mostErrors: (t) => t.errors }

/** ordered sorts traces; those that are equal stay as they came, the newest first. */
export function ordered(traces: readonly Trace[], by: Order): Trace[] {
  const of = measure[by]
  return [...traces].sort((a, b) => of(b) - of(a))
}

const mostServices = 6

/** Item is one trace. Its bar is as long as the trace was, beside the longest. */
export const Item = memo(function Item({ trace: t, longest, hot, setHot }: { trace: Trace; longest: number; hot: boolean; setHot: (id: string | undefined) => void }) {
  const name = t.root.name || w('unnamed')
  const more = t.services.length - mostServices
  return (
    <li class={`trace-item ${hot ? 'hot' : ''}`} onPointerEnter={() => setHot(t.traceId)} onPointerLeave={() => setHot(undefined)}>
      <div class="line">
        <Link class="name" href={`/traces/${t.traceId}`} onFocus={() => setHot(t.traceId)}>
          <strong>{t.root.service || w('unnamed')}</strong> {name}
        </Link>
        <span class="row tight">
          {t.errors > 0 && <Badge tone="bad">{w('errors', { n: t.errors })}</Badge>}
          {t.refused > 0 && (
            <Badge tone="forced" icon="bolt" title={w('refusedHelp')}>
              {w('refused', { n: t.refused })}
            </Badge>
          )}
          {t.headless && (
            <Badge tone="warn" title={w('headlessHelp')}>
              {w('headless')}
            </Badge>
          )}
        </span>
        <span class="took num">{format.ms(t.duration / 1000)}</span>
      </div>
      <div class="bar" aria-hidden="true">
        <span class={t.errors > 0 ? 'error' : undefined} style={{ width: `${Math.max(0.3, (t.duration / Math.max(1, longest)) * 100)}%` }} />
      </div>
      <div class="line">
        <span class="row tight apps">
          {t.services.slice(0, mostServices).map((s) => (
            <span key={s.name} class="chip" title={w('serviceTitle', { name: s.name || w('unnamed'), n: s.spans, longest: format.ms(s.duration / 1000), errors: s.errors })}>
              {s.errors > 0 && (
                <span class="bad-text">
                  <Icon name="bad" size={11} label={w('errors', { n: s.errors })} />
                </span>
              )}
              {s.name || w('unnamed')} <span class="num muted">{s.spans}</span>
            </span>
          ))}
          {more > 0 && <span class="muted">{w('others', { n: more })}</span>}
          {t.policy && (
            <Link class="chip" href={`/policies/${t.policy}`} title={w('policyHelp')}>
              <Icon name="policies" size={11} /> {w('policy', { name: t.policy })}
            </Link>
          )}
        </span>
        <span class="muted num facts-line">
          {w('spans', { n: t.spans })} · {w('depth', { n: t.depth })} · <Time at={t.start / 1000} /> · <Ago at={t.start / 1000} />
        </span>
      </div>
    </li>
  )
})
