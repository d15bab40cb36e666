import type { ComponentChildren, JSX } from 'preact'
import { Icon, type IconName } from '~/ui/icons'

export type Tone = 'ok' | 'warn' | 'bad' | 'forced' | 'info' | 'idle'

type ButtonProps = Omit<JSX.ButtonHTMLAttributes<HTMLButtonElement>, 'icon' | 'size'> & {
  kind?: 'primary' | 'danger' | 'plain' | 'default'
  small?: boolean
  icon?: IconName
  /** What the button is called where it has no text. */
  label?: string
  busy?: boolean
}

export function Button({ kind = 'default', small, icon, label, busy, children, class: extra, ...rest }: ButtonProps) {
  const bare = icon !== undefined && !children
  return (
    <button type="button" {...rest} class={`btn ${kind} ${small ? 'small' : ''} ${bare ? 'icon' : ''} ${extra ?? ''}`} aria-label={label} title={bare ? label : rest.title} disabled={rest.disabled || busy} aria-busy={busy || undefined}>
      {busy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} size={small ? 13 : 15} />}
      {children}
    </button>
  )
}

const toneIcon: Record<Tone, IconName> = { ok: 'ok', warn: 'warn', bad: 'bad', forced: 'lock', info: 'info', idle: 'dot' }

/** Badge says how something is: by word, shape and colour. */
export function Badge({ tone = 'idle', icon, children, title }: { tone?: Tone; icon?: IconName | false; children: ComponentChildren; title?: string }) {
  return (
    <span class={`badge ${tone}`} title={title}>
      {icon !== false && <Icon name={icon ?? toneIcon[tone]} size={11} />}
      {children}
    </span>
  )
}

export function Card({ title, actions, children, flush, id, level = 2 }: { title?: ComponentChildren; actions?: ComponentChildren; children: ComponentChildren; flush?: boolean; id?: string; level?: 2 | 3 }) {
  const H = level === 2 ? 'h2' : 'h3'
  return (
    <section class="card" id={id}>
      {(title !== undefined || actions !== undefined) && (
        <header>
          {title !== undefined && <H>{title}</H>}
          {actions !== undefined && <div class="row tight push">{actions}</div>}
        </header>
      )}
      {flush ? children : <div class="body">{children}</div>}
    </section>
  )
}

/** Facts is a list of names and values. */
export function Facts({ items }: { items: ([ComponentChildren, ComponentChildren] | false | undefined | null)[] }) {
  return (
    <dl class="facts">
      {items.map((f, i) =>
        f ? (
          <>
            <dt key={`t${i}`}>{f[0]}</dt>
            <dd key={`d${i}`}>{f[1]}</dd>
          </>
        ) : null,
      )}
    </dl>
  )
}

export function Stat({ label, value, tone }: { label: ComponentChildren; value: ComponentChildren; tone?: 'ok' | 'warn' | 'bad' }) {
  return (
    <div class="stat">
      <div class={`value ${tone ? `${tone}-text` : ''}`}>{value}</div>
      <div class="label">{label}</div>
    </div>
  )
}

/** Notice is a sentence that matters more than what is around it. */
export function Notice({ tone = 'info', children, action, live }: { tone?: 'info' | 'warn' | 'bad' | 'ok'; children: ComponentChildren; action?: ComponentChildren; live?: boolean }) {
  return (
    <div class={`notice ${tone}`} role={live ? (tone === 'bad' ? 'alert' : 'status') : undefined}>
      <Icon name={tone === 'ok' ? 'ok' : tone} />
      <div>{children}</div>
      {action && <div class="push">{action}</div>}
    </div>
  )
}
