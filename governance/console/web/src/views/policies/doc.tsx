// YAML in the page. The package that writes it is loaded when it is first shown.
import { useEffect, useState } from 'preact/hooks'
import type { Policy } from '~/policy/model'
import { Copy } from '~/ui/copy'
import { Diff } from '~/ui/diff'
import { Loading } from '~/ui/state'

type Yaml = typeof import('~/policy/yaml')
let loaded: Yaml | undefined

/** useYaml is what reads and writes YAML; undefined until it is there. */
export function useYaml(): Yaml | undefined {
  const [yaml, setYaml] = useState(loaded)
  useEffect(() => {
    let gone = false
    if (!loaded) {
      void import('~/policy/yaml').then((m) => {
        loaded = m
        if (!gone) setYaml(m)
      })
    }
    return () => {
      gone = true
    }
  }, [])
  return yaml
}

export function Document({ policy }: { policy: Policy }) {
  const yaml = useYaml()
  if (!yaml) return <Loading lines={6} />
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
  const yaml = useYaml()
  if (!yaml) return <Loading lines={3} />
  return <Diff before={yaml.write(before).trimEnd()} after={yaml.write(after).trimEnd()} />
}
