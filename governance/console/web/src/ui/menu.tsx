import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Button } from '~/ui/basic'
import type { IconName } from '~/ui/icons'

/** How near to the edge of the screen a list may come, in px. */
const edge = 8

/** Menu is a button with a list below it. Escape and a click elsewhere close it; arrows move in it. */
export function Menu({ label, text, icon, start, small, children }: { label: string; text?: ComponentChildren; icon?: IconName; start?: boolean; small?: boolean; children: (close: () => void) => ComponentChildren }) {
  const [open, setOpen] = useState(false)
  const ref = useRef<HTMLDivElement>(null)
  const items = () => [...(ref.current?.querySelectorAll<HTMLElement>('.items > a, .items > button, .items input') ?? [])]
  const close = () => {
    setOpen(false)
    ref.current?.querySelector('button')?.focus()
  }
  useEffect(() => {
    if (!open) return
    const elsewhere = (e: Event) => {
      if (!ref.current?.contains(e.target as Node)) setOpen(false)
    }
    document.addEventListener('pointerdown', elsewhere)
    items()[0]?.focus()
    return () => document.removeEventListener('pointerdown', elsewhere)
  }, [open])
  // On a phone the button may stand where the list would begin beside the screen.
  useLayoutEffect(() => {
    const list = ref.current?.querySelector<HTMLElement>('.items')
    if (!open || !list) return
    const { left, right } = list.getBoundingClientRect()
    const by = left < edge ? edge - left : Math.min(0, document.documentElement.clientWidth - edge - right)
    if (by !== 0) list.style.translate = `${by}px 0`
  }, [open])
  function key(e: KeyboardEvent) {
    if (!open) return
    if (e.key === 'Escape') {
      e.stopPropagation()
      close()
    }
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      const all = items()
      const i = all.indexOf(document.activeElement as HTMLElement)
      all[(i + (e.key === 'ArrowDown' ? 1 : all.length - 1)) % all.length]?.focus()
      e.preventDefault()
    }
  }
  return (
    <div class="menu" ref={ref} onKeyDown={key}>
      <Button kind={text === undefined ? 'plain' : 'default'} icon={icon} small={small} label={text === undefined ? label : undefined} title={label} aria-expanded={open} aria-haspopup="true" onClick={() => setOpen(!open)}>
        {text}
      </Button>
      {open && <div class={`items ${start ? 'start' : ''}`}>{children(close)}</div>}
    </div>
  )
}
