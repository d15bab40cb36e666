// A view that breaks does not take the console with it.
import { Component, type ComponentChildren } from 'preact'
import { words as w } from '~/app/words'
import { Button, Card } from '~/ui/basic'

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
    if (!error) return this.props.children
    // Chunks of a version that was replaced are gone.
    const outdated = /dynamically imported module|module script/i.test(error.message)
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
            <Button kind="primary" onClick={() => (outdated ? location.reload() : this.setState({ error: undefined }))}>
              {outdated ? w('reload') : w('retry')}
            </Button>
          </div>
        </div>
      </Card>
    )
  }
}
