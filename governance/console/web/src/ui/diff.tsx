import { useMemo } from 'preact/hooks'
import { dictionary } from '~/i18n'
import { diffLines } from '~/ui/lines'

const w = dictionary({
  en: { same: 'No difference.', skipped: '{n} unchanged {n|line|lines}', added: 'added', removed: 'removed', label: 'Differences' },
  zh: { same: '没有差异。', skipped: '{n} 行未变', added: '新增', removed: '删除', label: '差异' },
})

/** Diff shows what differs between two texts. */
export function Diff({ before, after }: { before: string; after: string }) {
  const lines = useMemo(() => diffLines(before, after), [before, after])
  if (lines.every((l) => l.kind === 'same' || l.kind === 'skip')) return <p class="muted">{w('same')}</p>
  return (
    <div class="diff" role="region" aria-label={w('label')} tabIndex={0}>
      {lines.map((l, i) => (
        <div key={i} class={`line ${l.kind}`}>
          <span aria-label={l.kind === 'add' ? w('added') : l.kind === 'del' ? w('removed') : undefined} role={l.kind === 'add' || l.kind === 'del' ? 'img' : undefined}>
            {l.kind === 'add' ? '+' : l.kind === 'del' ? '−' : ''}
          </span>
          <span>{l.kind === 'skip' ? w('skipped', { n: Number(l.text) }) : l.text || ' '}</span>
        </div>
      ))}
    </div>
  )
}
