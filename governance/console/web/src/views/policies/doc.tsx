// YAML in the page. The package that writes it is loaded when it is first shown.
import { Link } from 'wouter-preact'
import { usePart } from '~/app/load'
import type { Policy } from '~/policy/model'
import { Copy } from '~/ui/copy'
import { Diff } from '~/ui/diff'
import { Empty, ErrorBox, Loading } from '~/ui/state'
import { words as w } from '~/views/policies/words'

const yamlPart = () => import('~/policy/yaml')

/** useYaml is what reads and writes YAML; undefined until it is there. */
export function useYaml() {
  const { part: yaml, error, retry } = usePart(yamlPart)
  return { yaml, error, retry }
}

/** Unread stands in for a document while YAML cannot be written. */
export function Unread({ error, retry, lines }: { error?: Error; retry: () => void; lines: number }) {
  return error ? <ErrorBox error={error} retry={retry} /> : <Loading lines={lines} />
}

/** Never is shown for a policy that there is not, and was not. */
export function Never({ name }: { name: string }) {
  return (
    <Empty title={w('never', { name })} icon="policies" action={<Link class="btn" href="/policies">{w('toList')}</Link>}>
      {w('neverHint')}
    </Empty>
  )
}

export function Document({ policy }: { policy: Policy }) {
  const { yaml, error, retry } = useYaml()
  if (!yaml) return <Unread error={error} retry={retry} lines={6} />
  const text = yaml.write(policy)
  return (
    <div class="doc-box">
      <pre class="doc" tabIndex={0}>
        {text}
      </pre>
      <span class="doc-copy">
        <Copy text={text} />
      </span>
    </div>
  )
}

/** Changes shows what differs between two documents. */
export function Changes({ before, after }: { before: Policy; after: Policy }) {
  const { yaml, error, retry } = useYaml()
  if (!yaml) return <Unread error={error} retry={retry} lines={3} />
  return <Diff before={yaml.write(before).trimEnd()} after={yaml.write(after).trimEnd()} />
}
