import type { RefObject } from 'preact'
import { Button } from '~/ui/basic'
import { Menu } from '~/ui/menu'
import { words as w } from './words'

interface Props {
  input: RefObject<HTMLInputElement>
  query: string
  found: number
  /** Which of those found is the active one, from 1; 0 for none. */
  at: number
  depth: number
  critical: boolean
  zoomed: boolean
  jumps: { error: boolean; refused: boolean; fallback: boolean }
  onQuery: (query: string) => void
  onMatch: (step: 1 | -1) => void
  onJump: (what: 'error' | 'refused' | 'fallback') => void
  /** All levels where none is said. */
  onLevels: (levels?: number) => void
  onCritical: () => void
  onZoom: (factor: number) => void
  onHelp: () => void
}

/** Toolbar is what can be done with the rows of a trace. */
export function Toolbar(p: Props) {
  const levels = [1, 2, 3, 4, 5, 8, 12].filter((n) => n < p.depth)
  return (
    <div class="wf-tools" role="toolbar" aria-label={w('waterfall')}>
      <div class="row tight wf-find">
        <input
          ref={p.input}
          class="input"
          type="search"
          aria-label={w('find')}
          placeholder={w('findHint')}
          value={p.query}
          spellcheck={false}
          onInput={(e) => p.onQuery(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key !== 'Enter') return
            e.preventDefault()
            p.onMatch(e.shiftKey ? -1 : 1)
          }}
        />
        <span class={`num nowrap ${p.query && p.found === 0 ? 'bad-text' : 'muted'}`} role="status">
          {p.query && (p.found === 0 ? w('noMatch') : p.at > 0 ? w('matches', { at: p.at, n: p.found }) : w('found', { n: p.found }))}
        </span>
        <Button small kind="plain" icon="up" label={w('previous')} disabled={p.found === 0} onClick={() => p.onMatch(-1)} />
        <Button small kind="plain" icon="down" label={w('next')} disabled={p.found === 0} onClick={() => p.onMatch(1)} />
      </div>
      <div class="row tight">
        {p.jumps.error && (
          <Button small kind="danger" icon="bad" onClick={() => p.onJump('error')}>
            {w('nextError')}
          </Button>
        )}
        {p.jumps.refused && (
          <Button small icon="bolt" onClick={() => p.onJump('refused')}>
            {w('nextRefusal')}
          </Button>
        )}
        {p.jumps.fallback && (
          <Button small icon="undo" onClick={() => p.onJump('fallback')}>
            {w('nextFallback')}
          </Button>
        )}
      </div>
      <div class="row tight push">
        <Button small aria-pressed={p.critical} onClick={p.onCritical}>
          {w('criticalToggle')}
        </Button>
        <Menu small label={w('levelsShown')} text={w('levelsShown')}>
          {(close) => {
            const item = (text: string, n?: number) => (
              <button
                key={n ?? 0}
                type="button"
                onClick={() => {
                  p.onLevels(n)
                  close()
                }}
              >
                {text}
              </button>
            )
            return [item(w('expandAll')), ...levels.map((n) => item(n === 1 ? w('collapseAll') : w('levelsN', { n }), n))]
          }}
        </Menu>
        <div class="segmented">
          <Button small icon="plus" label={w('zoomIn')} onClick={() => p.onZoom(0.5)} />
          <Button small icon="minus" label={w('zoomOut')} disabled={!p.zoomed} onClick={() => p.onZoom(2)} />
          <Button small icon="undo" label={w('zoomReset')} disabled={!p.zoomed} onClick={() => p.onZoom(Infinity)} />
        </div>
        <Button small kind="plain" icon="why" label={w('keys')} onClick={p.onHelp} />
      </div>
    </div>
  )
}
