// A text field with the numbers of its lines, and marks where something is wrong.
import { useEffect, useRef } from 'preact/hooks'
import { Said, say } from '~/said'
import { Icon } from '~/ui/icons'
import type { Fault } from '~/views/routes/yaml'
import { t } from '~/views/routes/editwords'

/** offsetOf is where a line and column stand in a text. */
export function offsetOf(text: string, line: number, column = 1): number {
  let at = 0
  for (let l = 1; l < line; l++) {
    const next = text.indexOf('\n', at)
    if (next < 0) return text.length
    at = next + 1
  }
  return Math.min(text.length, at + column - 1)
}

interface Props {
  text: string
  faults: Fault[]
  onInput: (text: string) => void
  /** A place to go to; a new object goes there again. */
  goTo?: { line: number; column?: number }
  onGo: (fault: Fault) => void
}

export function YamlEditor({ text, faults, onInput, goTo, onGo }: Props) {
  const area = useRef<HTMLTextAreaElement>(null)
  const gutter = useRef<HTMLDivElement>(null)
  const lines = text.split('\n').length
  const wrong = new Map(faults.filter((f) => f.line !== undefined).map((f) => [f.line!, f]))
  useEffect(() => {
    const a = area.current
    if (!a || !goTo) return
    const at = offsetOf(a.value, goTo.line, goTo.column)
    const end = a.value.indexOf('\n', at)
    a.focus()
    a.setSelectionRange(at, end < 0 ? a.value.length : end)
    const height = a.scrollHeight / Math.max(1, a.value.split('\n').length)
    a.scrollTop = Math.max(0, (goTo.line - 4) * height)
  }, [goTo])
  return (
    <div class="stack tight">
      <div class="rt-yaml">
        <div class="rt-gutter" ref={gutter} aria-hidden="true">
          {Array.from({ length: lines }, (_, i) => (
            <div key={i} class={wrong.has(i + 1) ? 'rt-wrong' : undefined} title={say(wrong.get(i + 1)?.message ?? '') || undefined}>
              {wrong.has(i + 1) && '!'}
              {i + 1}
            </div>
          ))}
        </div>
        <textarea
          ref={area}
          class="textarea code"
          rows={Math.min(40, Math.max(16, lines + 1))}
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          wrap="off"
          aria-label={t('document')}
          aria-invalid={faults.length > 0 ? 'true' : undefined}
          aria-describedby="yaml-faults"
          value={text}
          onInput={(e) => onInput(e.currentTarget.value)}
          onScroll={(e) => {
            if (gutter.current) gutter.current.scrollTop = e.currentTarget.scrollTop
          }}
        />
      </div>
      <div id="yaml-faults" aria-live="polite">
        {faults.length > 0 && (
          <ul class="rt-faults">
            {faults.map((f, i) => (
              <li key={i}>
                <Icon name="bad" size={13} />
                {f.line !== undefined && (
                  <button type="button" class="rt-link" onClick={() => onGo(f)}>
                    {t('line', { line: f.line })}
                  </button>
                )}
                <span>
                  {f.field && <code>{f.field}</code>} <Said text={f.message} />
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </div>
  )
}
