import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Link, useLocation } from 'wouter-preact'
import { clock } from '~/app/clock'
import { Palette } from '~/app/palette'
import { LanguageMenu, ThemeMenu } from '~/app/prefs'
import { logout, me } from '~/app/session'
import { navigation } from '~/app/views'
import { words as w } from '~/app/words'
import * as format from '~/i18n/format'
import { liveState, staleSince } from '~/live/stream'
import { Button } from '~/ui/basic'
import { Icon } from '~/ui/icons'
import { Menu } from '~/ui/menu'
import { Toasts } from '~/ui/toast'
import { PasswordDialog } from '~/app/password'
import '~/app/frame.css'

/** Frame is what stands around every view. */
export function Frame({ children }: { children: ComponentChildren }) {
  const [path] = useLocation()
  const [nav, setNav] = useState(false)
  const [finding, setFinding] = useState(false)
  const [password, setPassword] = useState(false)
  useEffect(() => setNav(false), [path])
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') {
        e.preventDefault()
        setFinding(true)
      } else if (e.key === '/' && !typing(e.target)) {
        e.preventDefault()
        setFinding(true)
      } else if (e.key === 'Escape') setNav(false)
    }
    addEventListener('keydown', key)
    return () => removeEventListener('keydown', key)
  }, [])
  return (
    <div class={`frame ${nav ? 'nav-open' : ''}`}>
      <a class="btn primary skip" href="#main" onClick={(e) => {
        e.preventDefault()
        document.getElementById('main')?.focus()
      }}>
        {w('skip')}
      </a>
      <header class="top">
        <Button kind="plain" class="navtoggle" icon="menu" label={w('menu')} aria-expanded={nav} aria-controls="nav" onClick={() => setNav(!nav)} />
        <Link href="/" class="brand" aria-label={w('weir')}>
          <img src="/mark.svg" width="22" height="22" alt="" />
          <span>{w('weir')}</span>
        </Link>
        <span class="push" />
        <Button class="find" icon="search" aria-label={w('find')} title={w('findHint')} onClick={() => setFinding(true)}>
          <span>{w('find')}</span>
          <kbd>/</kbd>
        </Button>
        <LivePill />
        <ThemeMenu />
        <LanguageMenu />
        <Menu label={`${w('account')}: ${me.value?.name ?? ''}`} icon="user">
          {(close) => (
            <>
              <div class="group">
                {me.value?.name} · {me.value?.role}
              </div>
              {me.value?.kind === 'user' && (
                <button type="button" onClick={() => { close(); setPassword(true) }}>
                  {w('password')}
                </button>
              )}
              <button type="button" onClick={() => void logout().catch(() => {})}>
                {w('logout')}
              </button>
            </>
          )}
        </Menu>
      </header>
      <nav class="side" id="nav" aria-label={w('navigation')}>
        {navigation.map((g) => (
          <div key={g.word}>
            <h2>{w(g.word)}</h2>
            {g.items.map((i) => (
              <Link key={i.path} href={i.path} aria-current={inside(path, i.path) ? 'page' : undefined}>
                <Icon name={i.icon} /> {w(i.word)}
              </Link>
            ))}
          </div>
        ))}
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
      <Toasts />
      {finding && <Palette onClose={() => setFinding(false)} />}
      {password && <PasswordDialog onClose={() => setPassword(false)} />}
    </div>
  )
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
}

/** inside reports whether an address belongs to an entry of the navigation. */
export function inside(path: string, entry: string): boolean {
  return entry === '/' ? path === '/' : path === entry || path.startsWith(`${entry}/`)
}

function LivePill() {
  const s = liveState.value
  const text = s === 'live' ? w('live') : s === 'stale' ? w('liveStale', { age: format.span((clock.value - staleSince.value) / 1000) }) : s === 'connecting' ? w('liveConnecting') : w('liveOff')
  return (
    <span class={`live live-${s}`} title={w('liveHelp')}>
      <span class="dot" aria-hidden="true" />
      {text}
    </span>
  )
}
