import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { Link } from 'wouter-preact'

export interface Crumb {
  text: string
  to: string
}

/** Page is the frame of a view: what it is called, where it stands, what can be done. */
export function Page({ title, heading, crumbs, actions, lead, children }: { title: string; heading?: ComponentChildren; crumbs?: Crumb[]; actions?: ComponentChildren; lead?: ComponentChildren; children: ComponentChildren }) {
  useEffect(() => {
    document.title = `${title} · Weir`
  }, [title])
  return (
    <div class="page">
      <header>
        {crumbs && crumbs.length > 0 && (
          <nav class="crumbs">
            {crumbs.map((c, i) => (
              <span key={c.to}>
                {i > 0 && <span aria-hidden="true">/ </span>}
                <Link href={c.to}>{c.text}</Link>
              </span>
            ))}
          </nav>
        )}
        <h1 tabIndex={-1}>{heading ?? title}</h1>
        {actions && <div class="actions">{actions}</div>}
        {lead && (
          <div class="lead">
            <p>{lead}</p>
          </div>
        )}
      </header>
      <div class="stack">{children}</div>
    </div>
  )
}
