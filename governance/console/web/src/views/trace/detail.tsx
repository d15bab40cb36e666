import { memo } from 'preact/compat'
import { useEffect, useRef } from 'preact/hooks'
import { Link } from 'wouter-preact'
import { appPath, link } from '~/app/address'
import * as format from '~/i18n/format'
import { Badge, Button, Facts } from '~/ui/basic'
import { Copy } from '~/ui/copy'
import { Icon, type IconName } from '~/ui/icons'
import { linksOf, policyPath, type LinkKind } from './links'
import type { Span } from './rows'
import { fallbackWord, moment, policyWord, refusalWord, serviceOf, share, took } from './show'
import { criticalOf } from './stats'
import { words as w } from './words'

const linkWords: Record<LinkKind, [Parameters<typeof w>[0], IconName]> = {
  chart: ['chart', 'overview'],
  explain: ['explain', 'why'],
  policy: ['policyLink', 'policies'],
  route: ['route', 'routes'],
  events: ['events', 'events'],
  instance: ['instanceLink', 'apps'],
  like: ['likeThis', 'traces'],
}
const kindWords = { CLIENT: 'kindCLIENT', SERVER: 'kindSERVER', PRODUCER: 'kindPRODUCER', CONSUMER: 'kindCONSUMER', '': 'kindNone' } as const

/** Detail is all that is known of one span. focus grows when it is to take the keyboard. */
export const Detail = memo(function Detail({ span: s, caller, traceStart, traceDuration, focus, onClose, onCaller }: { span: Span; caller?: Span; traceStart: number; traceDuration: number; focus: number; onClose: () => void; onCaller: () => void }) {
  const title = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    if (focus > 0) title.current?.focus()
  }, [focus])
  const tags = s.tags as [string, string][]
  const policy = policyPath(s)
  const critical = criticalOf(s)
  return (
    <section
      class="card wf-detail"
      aria-label={w('detail')}
      onKeyDown={(e) => {
        if (e.key === 'Escape') {
          e.stopPropagation()
          onClose()
        }
      }}
    >
      <header>
        <h2 ref={title} tabIndex={-1}>
          {serviceOf(s.service)} <span class="name">{s.name}</span>
        </h2>
        <div class="row tight push">
          <Copy text={JSON.stringify(s, null, 2)} label={w('copyJson')} />
          <Button small kind="plain" icon="close" label={w('closeDetail')} onClick={onClose} />
        </div>
      </header>
      <div class="body stack">
        {(s.error || s.refused || s.fallback || s.retries) && (
          <div class="row tight">
            {s.error && <Badge tone="bad">{w('failed')}</Badge>}
            {s.refused && (
              <Badge tone="forced" icon="bolt">
                {refusalWord(s.refused)}
              </Badge>
            )}
            {s.fallback && (
              <Badge tone="warn" icon="undo">
                {fallbackWord(s.fallback)}
              </Badge>
            )}
            {!!s.retries && <Badge tone="info">{w('retried', { n: s.retries })}</Badge>}
          </div>
        )}
        {s.withheld && <p class="warn-text">{w('withheld')}</p>}
        {s.missingParent && <p class="warn-text">{w('missingParent')}</p>}
        <Facts
          items={[
            [w('begin'), <><span class="num">{moment(s.start)}</span> <span class="muted num" title={format.fullTime((traceStart + s.start) / 1000)}>{format.time((traceStart + s.start) / 1000)}</span></>],
            [w('duration'), <span class="num">{s.duration === 0 ? w('noTime') : `${took(s.duration)} · ${share(s.duration, traceDuration)}`}</span>],
            [<span title={w('selfHelp')}>{w('self')}</span>, <span class="num">{took(s.self)}{s.duration > 0 && ` · ${share(s.self, s.duration)}`}</span>],
            critical > 0 && [w('held'), <span class="num">{took(critical)} · {share(critical, traceDuration)}</span>],
            !!s.skewed && [w('clock'), w('clockMoved', { by: moment(s.skewed) })],
            !!s.app && [w('application'), <Link href={appPath(s.app)}>{s.app}</Link>],
            !!s.instance && [w('instance'), s.app ? <Link href={appPath(s.app, { tab: 'instances', instance: s.instance })}>{s.instance}</Link> : s.instance],
            !!s.command && [w('command'), <code>{s.command}</code>],
            !!s.at && [w('at'), w(s.at === 'caller' ? 'atCaller' : 'atProvider')],
            !!s.peer && [w('peer'), <Link href={appPath(s.peer)}>{s.peer}</Link>],
            !!s.remote && [w('remote'), s.remote],
            !!s.policy && [w('policy'), policy ? <Link href={policy}>{policyWord(s)}</Link> : policyWord(s)],
            [w('kind'), `${w(kindWords[s.kind])}${s.shared ? ` · ${w('shared')}` : ''}`],
            caller !== undefined && [w('parent'), <Button small kind="plain" class="caller" onClick={onCaller}>{serviceOf(caller.service)} {caller.name}</Button>],
            [w('spanId'), <><code>{s.id}</code> <Copy text={s.id} label={w('copySpanId')} /></>],
          ]}
        />
        {!!s.below && <p class="muted">{w('belowLeftOut', { n: s.below })}</p>}
        <div>
          <h3>{w('leads')}</h3>
          <ul class="wf-links">
            {linksOf(s, traceStart).map(([kind, to]) => (
              <li key={kind}>
                <Link href={to}>
                  <Icon name={linkWords[kind][1]} size={13} /> {w(linkWords[kind][0])}
                </Link>
              </li>
            ))}
          </ul>
        </div>
        {s.annotations.length > 0 && (
          <div>
            <h3>{w('eventsOf')}</h3>
            <ul class="wf-events">
              {s.annotations.map((a, i) => (
                <li key={i}>
                  <span class="num muted">{moment(a.at)}</span> <span class="name">{a.value}</span>
                </li>
              ))}
            </ul>
          </div>
        )}
        <div>
          <h3>{w('tags')}</h3>
          {tags.length === 0 ? (
            <p class="muted">{w('noTags')}</p>
          ) : (
            <table class="table wf-tags" aria-label={w('tags')}>
              <thead class="sr">
                <tr>
                  <th scope="col">{w('tagKey')}</th>
                  <th scope="col">{w('tagValue')}</th>
                </tr>
              </thead>
              <tbody>
                {tags.map(([key, value], i) => (
                  <tr key={i}>
                    <th scope="row">
                      <Link href={link('/traces', { tags: value.length <= 256 ? `${key}=${value}` : key })} title={w('searchTag', { tag: key })}>
                        {key}
                      </Link>
                    </th>
                    <td>
                      <span class="value">{value}</span>
                      <Copy text={value} label={w('copyValue', { key })} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </div>
      </div>
    </section>
  )
})
