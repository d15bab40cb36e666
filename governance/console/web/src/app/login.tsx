import { useState } from 'preact/hooks'
import { LanguageMenu, ThemeMenu } from '~/app/prefs'
import { ended, login } from '~/app/session'
import { dictionary } from '~/i18n'
import { Button, Notice } from '~/ui/basic'
import { Field } from '~/ui/field'
import { ErrorBox } from '~/ui/state'
import '~/app/frame.css'

const w = dictionary({
  en: { title: 'Log in to Weir', user: 'User', password: 'Password', login: 'Log in', hint: 'The first start of a control plane makes the account admin and shows its password once.', ended: 'Your session ended. After the login you are where you were.' },
  zh: { title: '登录 Weir', user: '用户', password: '密码', login: '登录', hint: '控制面首次启动时会创建 admin 账户，并仅显示一次密码。', ended: '会话已结束。重新登录后会回到原来的页面。' },
})

export function Login() {
  const [user, setUser] = useState('')
  const [password, setPassword] = useState('')
  const [error, setError] = useState<unknown>()
  const [busy, setBusy] = useState(false)
  document.title = w('title')
  async function submit(e: Event) {
    e.preventDefault()
    setBusy(true)
    setError(undefined)
    try {
      await login(user.trim(), password)
    } catch (err) {
      setError(err)
      setBusy(false)
    }
  }
  return (
    <main class="login">
      <div>
        <div class="card">
          <div class="body">
            <form class="stack" onSubmit={submit}>
              <div class="row">
                <img src="/mark.svg" width="32" height="32" alt="" />
                <h1>{w('title')}</h1>
              </div>
              <Field label={w('user')}>{(f) => <input {...f} class="input" name="user" autoComplete="username" autoFocus required value={user} onInput={(e) => setUser(e.currentTarget.value)} />}</Field>
              <Field label={w('password')} hint={w('hint')}>
                {(f) => <input {...f} class="input" name="password" type="password" autoComplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}
              </Field>
              {ended.value && error === undefined && <Notice live>{w('ended')}</Notice>}
              {error !== undefined && <ErrorBox error={error} />}
              <Button type="submit" kind="primary" busy={busy}>
                {w('login')}
              </Button>
            </form>
          </div>
        </div>
        <div class="prefs">
          <ThemeMenu />
          <LanguageMenu />
        </div>
      </div>
    </main>
  )
}
