// Dialogs, on the platform's own element: it keeps the focus and closes by Escape.
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { writing } from '~/api/query'
import { words as w } from '~/app/words'
import { Button } from '~/ui/basic'
import { Field } from '~/ui/field'
import { ErrorBox } from '~/ui/state'

export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const d = ref.current
    if (d && !d.open) d.showModal()
    return () => d?.close()
  }, [])
  return (
    <dialog
      ref={ref}
      class={`dialog ${wide ? 'wide' : ''}`}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault()
        onClose()
      }}
      onClick={(e) => {
        if (e.target === ref.current) onClose() // on what is around it
      }}
    >
      <div class="inner">
        <div class="row title">
          <h2 id={id}>{title}</h2>
          <span class="push" />
          <Button kind="plain" small icon="close" label={w('close')} onClick={onClose} />
        </div>
        {children}
      </div>
    </dialog>
  )
}

/**
 * ReasonDialog asks why, and does it: every write of Weir has a reason. It says
 * what is about to happen, and stays with the error if it fails.
 */
export function ReasonDialog({ title, act, danger, children, onClose, run, initial = '' }: { title: string; act: string; danger?: boolean; children?: ComponentChildren; onClose: () => void; run: (reason: string) => Promise<unknown>; initial?: string }) {
  const [reason, setReason] = useState(initial)
  const [tried, setTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>()
  const missing = reason.trim() === ''
  async function submit(e: Event) {
    e.preventDefault()
    setTried(true)
    if (missing || busy) return
    setBusy(true)
    setError(undefined)
    try {
      await writing(() => run(reason))
      onClose()
    } catch (err) {
      setError(err)
      setBusy(false)
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        {children}
        <Field label={w('reason')} hint={w('reasonHint')} error={tried && missing ? w('reasonMissing') : undefined}>
          {(f) => <input {...f} class="input" name="reason" maxLength={500} value={reason} onInput={(e) => setReason(e.currentTarget.value)} autoFocus />}
        </Field>
        {error !== undefined && <ErrorBox error={error} />}
        <footer>
          <Button onClick={onClose}>{w('cancel')}</Button>
          <Button type="submit" kind={danger ? 'danger' : 'primary'} busy={busy}>
            {act}
          </Button>
        </footer>
      </form>
    </Dialog>
  )
}
