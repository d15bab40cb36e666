import { QueryClientProvider } from '@tanstack/preact-query'
import { Suspense } from 'preact/compat'
import { useEffect } from 'preact/hooks'
import { Link, Route, Switch, useLocation } from 'wouter-preact'
import { queries } from '~/api/query'
import { Frame } from '~/app/frame'
import { Guard } from '~/app/guard'
import { Login } from '~/app/login'
import { me, meProblem, whoAmI } from '~/app/session'
import { views } from '~/app/views'
import { words as w } from '~/app/words'
import { Page } from '~/ui/page'
import { Empty, ErrorBox, Loading } from '~/ui/state'

export function App() {
  if (me.value === null) return <Login />
  if (me.value === undefined) {
    return <main class="login">{meProblem.value ? <ErrorBox error={meProblem.value} retry={() => void whoAmI()} /> : <Loading lines={1} />}</main>
  }
  return (
    <QueryClientProvider client={queries}>
      <Frame>
        <Shown />
      </Frame>
    </QueryClientProvider>
  )
}

function Shown() {
  const [path] = useLocation()
  useEffect(() => {
    window.scrollTo(0, 0)
  }, [path])
  return (
    <Guard key={path}>
      <Suspense fallback={<Loading />}>
        <Switch>
          {views.map(({ path, Show }) => (
            <Route key={path} path={path}>
              {(params: Record<string, string | undefined>) => <Show params={params} />}
            </Route>
          ))}
          <Route path="/login">
            <Redirect to="/" />
          </Route>
          <Route>
            <Page title={w('notFound')}>
              <Empty action={<Link class="btn" href="/">{w('toOverview')}</Link>}>{w('notFoundHint', { path })}</Empty>
            </Page>
          </Route>
        </Switch>
      </Suspense>
    </Guard>
  )
}

function Redirect({ to }: { to: string }) {
  const [, navigate] = useLocation()
  useEffect(() => navigate(to, { replace: true }), [navigate, to])
  return null
}
