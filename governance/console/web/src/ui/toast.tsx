// Short words on what was just done. Errors stay where they happened instead.
import { signal } from '@preact/signals'
import { words as w } from '~/app/words'
import { Button, Notice } from '~/ui/basic'

interface Toast {
  id: number
  tone: 'ok' | 'info' | 'warn'
  text: string
}

const toasts = signal<Toast[]>([])
let last = 0

export function toast(text: string, tone: Toast['tone'] = 'ok') {
  const id = ++last
  toasts.value = [...toasts.value.slice(-3), { id, tone, text }]
  setTimeout(() => dismiss(id), 6000)
}

function dismiss(id: number) {
  toasts.value = toasts.value.filter((t) => t.id !== id)
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((t) => (
        <Notice key={t.id} tone={t.tone} action={<Button kind="plain" small icon="close" label={w('close')} onClick={() => dismiss(t.id)} />}>
          {t.text}
        </Notice>
      ))}
    </div>
  )
}
