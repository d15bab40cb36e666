// Find: the quickest way to anything that has a name.
import { useQuery } from '@tanstack/preact-query'
import { useMemo, useState } from 'preact/hooks'
import { useLocation } from 'wouter-preact'
import { getQuery } from '~/api/query'
import { appPath } from '~/app/address'
import { navigation } from '~/app/views'
import { lang } from '~/i18n'
import { words as w } from '~/app/words'
import { health } from '~/live/store'
import { Dialog } from '~/ui/dialog'
import { matches } from '~/ui/field'
import { Icon, type IconName } from '~/ui/icons'

interface Hit {
  to: string
  text: string
  kind: string
  icon: IconName
}

/** traceOf reads a trace's id from what was typed or pasted. */
export function traceOf(text: string): string | undefined {
  const t = text.trim().toLowerCase()
  const w3c = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(t)
  if (w3c) return w3c[1]
  return /^[0-9a-f]{16}$|^[0-9a-f]{32}$/.test(t) ? t : undefined
}

export function Palette({ onClose }: { onClose: () => void }) {
  const [, navigate] = useLocation()
  const [text, setText] = useState('')
  const [at, setAt] = useState(0)
  const routes = useQuery(getQuery('/api/v1/routes'))
  const policies = useQuery(getQuery('/api/v1/policies'))
  const hits = useMemo(() => {
    const all: Hit[] = navigation.flatMap((g) => g.items.map((i) => ({ to: i.path, text: w(i.word), kind: w(g.word), icon: i.icon })))
    for (const app of health.value.keys()) all.push({ to: appPath(app), text: app, kind: w('apps'), icon: 'apps' })
    for (const r of routes.data?.items ?? []) all.push({ to: `/routes/${r.route.namespace}/${r.route.name}`, text: `${r.route.namespace}/${r.route.name}`, kind: w('routes'), icon: 'routes' })
    for (const p of policies.data?.items ?? []) {
      const name = `${p.policy.namespace}/${p.policy.name}`
      all.push({ to: `/policies/${name}`, text: name, kind: w(p.policy.kind === 'switch' ? 'switches' : 'policies'), icon: p.policy.kind === 'switch' ? 'switches' : 'policies' })
    }
    const found = all.filter((h) => matches(text, h.text, h.kind)).slice(0, 50)
    const trace = traceOf(text)
    if (trace) found.unshift({ to: `/traces/${trace}`, text: w('findTrace', { id: trace }), kind: w('traces'), icon: 'traces' })
    return found
  }, [text, routes.data, policies.data, lang.value])
  const go = (h: Hit | undefined) => {
    if (!h) return
    onClose()
    navigate(h.to)
  }
  return (
    <Dialog title={w('find')} onClose={onClose}>
      <div class="palette stack">
        <input
          class="input"
          autoFocus
          role="combobox"
          aria-expanded="true"
          aria-controls="palette-hits"
          aria-activedescendant={hits[at] ? `hit${at}` : undefined}
          aria-label={w('findHint')}
          placeholder={w('findHint')}
          value={text}
          onInput={(e) => {
            setText(e.currentTarget.value)
            setAt(0)
          }}
          onKeyDown={(e) => {
            if (e.key === 'ArrowDown') setAt(Math.min(hits.length - 1, at + 1))
            else if (e.key === 'ArrowUp') setAt(Math.max(0, at - 1))
            else if (e.key === 'Enter') go(hits[at])
            else return
            e.preventDefault()
          }}
        />
        {hits.length === 0 ? (
          <p class="muted">{w('findNone')}</p>
        ) : (
          <ul role="listbox" id="palette-hits" aria-label={w('find')}>
            {hits.map((h, i) => (
              <li key={h.to} id={`hit${i}`} role="option" aria-selected={i === at}>
                <a
                  href={h.to}
                  tabIndex={-1}
                  onClick={(e) => {
                    e.preventDefault()
                    go(h)
                  }}
                >
                  <Icon name={h.icon} /> {h.text} <span class="muted">{h.kind}</span>
                </a>
              </li>
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  )
}
