// A view that breaks, or cannot be loaded, does not take the console with it.
import { Component, type ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { LoadError } from '~/app/load'
import { words as w } from '~/app/words'
import { Button, Card, Notice } from '~/ui/basic'
import { Page } from '~/ui/page'

interface Props {
  children: ComponentChildren
}

export class Guard extends Component<Props, { error?: Error }> {
  override state: { error?: Error } = {}
  static override getDerivedStateFromError(error: Error) {
    return { error }
  }

  override componentDidCatch(error: unknown) {
    console.error(error)
  }

  override render() {
    const { error } = this.state
    const retry = () => this.setState({ error: undefined })
    if (!error) return this.props.children
    if (error instanceof LoadError && !error.outdated) return <Unloaded retry={retry} />
    const outdated = error instanceof LoadError
    return (
      <Card title={outdated ? w('newer') : w('broken')}>
        <div class="stack">
          {!outdated && (
            <>
              <p>{w('brokenHint')}</p>
              <pre class="doc">{error.message}</pre>
            </>
          )}
          <div>
            <Button kind="primary" onClick={() => (outdated ? location.reload() : retry())}>
              {outdated ? w('reload') : w('retry')}
            </Button>
          </div>
        </div>
      </Card>
    )
  }
}

const retryEvery = 5_000

/** Unloaded stands in for a view that the server could not be asked for, and tries again by itself. */
function Unloaded({ retry }: { retry: () => void }) {
  useEffect(() => {
    const timer = setTimeout(retry, retryEvery * (0.5 + Math.random()))
    return () => clearTimeout(timer)
  }, [])
  return (
    <Page title={w('unloadedTitle')}>
      <Notice tone="bad" live action={<Button small onClick={retry}>{w('retry')}</Button>}>
        {w('unloaded')}
      </Notice>
    </Page>
  )
}
