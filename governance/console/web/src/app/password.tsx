import { useState } from 'preact/hooks'
import { answer, api, because } from '~/api/client'
import { words as shared } from '~/app/words'
import { dictionary } from '~/i18n'
import { Button } from '~/ui/basic'
import { Dialog } from '~/ui/dialog'
import { Field } from '~/ui/field'
import { ErrorBox } from '~/ui/state'
import { toast } from '~/ui/toast'

const w = dictionary({
  en: {
    title: 'Change your password',
    current: 'Current password',
    next: 'New password',
    nextHint: '12 bytes at least. Other sessions of yours end.',
    again: 'New password, again',
    differs: 'The two differ.',
    done: 'Your password was changed.',
    reason: 'own password changed in the console',
  },
  zh: {
    title: '修改你的密码',
    current: '当前密码',
    next: '新密码',
    nextHint: '至少 12 个字节。你的其他会话会随之结束。',
    again: '再次输入新密码',
    differs: '两次输入不一致。',
    done: '密码已修改。',
    reason: '在控制台修改自己的密码',
  },
})

export function PasswordDialog({ onClose }: { onClose: () => void }) {
  const [current, setCurrent] = useState('')
  const [next, setNext] = useState('')
  const [again, setAgain] = useState('')
  const [error, setError] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  const differs = again !== '' && again !== next
  async function submit(e: Event) {
    e.preventDefault()
    if (next === '' || next !== again) return
    setBusy(true)
    setError(undefined)
    try {
      await answer(api.POST('/api/v1/me/password', { body: { current, new: next }, headers: because(w('reason')) }))
      toast(w('done'))
      onClose()
    } catch (err) {
      setError(err)
      setBusy(false)
    }
  }
  return (
    <Dialog title={w('title')} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field label={w('current')}>{(f) => <input {...f} class="input" type="password" autoComplete="current-password" value={current} onInput={(e) => setCurrent(e.currentTarget.value)} />}</Field>
        <Field label={w('next')} hint={w('nextHint')}>
          {(f) => <input {...f} class="input" type="password" autoComplete="new-password" value={next} onInput={(e) => setNext(e.currentTarget.value)} />}
        </Field>
        <Field label={w('again')} error={differs ? w('differs') : undefined}>
          {(f) => <input {...f} class="input" type="password" autoComplete="new-password" value={again} onInput={(e) => setAgain(e.currentTarget.value)} />}
        </Field>
        {error !== undefined && <ErrorBox error={error} />}
        <footer>
          <Button onClick={onClose}>{shared('cancel')}</Button>
          <Button type="submit" kind="primary" busy={busy} disabled={current === '' || next === '' || next !== again}>
            {shared('save')}
          </Button>
        </footer>
      </form>
    </Dialog>
  )
}
