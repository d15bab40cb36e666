import { Card, Notice } from '~/ui/basic'
import { Copy } from '~/ui/copy'
import { ErrorBox, Loading } from '~/ui/state'
import { useYaml } from '~/views/routes/draft'
import { t } from '~/views/routes/onewords'
import type { Version } from '~/views/routes/route'
import { textOf } from '~/views/routes/yaml'

/** DocumentCard shows a version's document, ready to be applied again. */
export function DocumentCard({ version }: { version: Version }) {
  const { yaml, error, retry } = useYaml()
  const text = yaml ? textOf(yaml, version.route) : ''
  return (
    <Card title={t('asRevision', { revision: String(version.revision) })} actions={yaml && <Copy text={text} />}>
      {version.unreadable && <Notice tone="bad">{version.unreadable}</Notice>}
      {error ? (
        <ErrorBox error={error} retry={retry} />
      ) : yaml ? (
        <pre class="doc" tabIndex={0} aria-label={t('tabDocument')}>
          {text}
        </pre>
      ) : (
        <Loading />
      )}
    </Card>
  )
}
