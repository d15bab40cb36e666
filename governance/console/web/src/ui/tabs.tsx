import type { ComponentChildren } from 'preact'
import { Link } from 'wouter-preact'
import { useAddress } from '~/app/address'
import { rowsParam } from '~/ui/table'

export interface Tab {
  key: string
  label: ComponentChildren
}

/** Tabs are links: the tab stands in the address. The first is the one without a parameter. */
export function Tabs({ tabs, label, param = 'tab', drop = [] }: { tabs: Tab[]; label: string; param?: string; drop?: string[] }) {
  const address = useAddress()
  const now = currentTab(tabs, address.get(param))
  const cleared = Object.fromEntries(drop.flatMap((d) => [d, rowsParam(d)]).map((d) => [d, undefined]))
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map((t, i) => (
        <Link key={t.key} href={address.with({ ...cleared, [param]: i === 0 ? undefined : t.key })} aria-current={t.key === now ? 'page' : undefined}>
          {t.label}
        </Link>
      ))}
    </nav>
  )
}

/** currentTab is the tab that an address names. */
export function currentTab(tabs: Tab[], said: string | undefined): string {
  return tabs.find((t) => t.key === said)?.key ?? tabs[0]?.key ?? ''
}
