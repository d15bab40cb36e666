import { Dialog } from '~/ui/dialog'
import { words as w } from './words'

const keys: [string[], Parameters<typeof w>[0]][] = [
  [['↑', '↓'], 'keysMove'],
  [['←', '→'], 'keysFold'],
  [['Home', 'End'], 'keysEnds'],
  [['PgUp', 'PgDn'], 'keysPages'],
  [['Enter'], 'keysDetail'],
  [['Esc'], 'keysClose'],
  [['f'], 'keysFind'],
  [['n', 'p'], 'keysMatches'],
  [['e'], 'keysError'],
  [['c'], 'keysCritical'],
  [['+', '-', '0'], 'keysZoom'],
  [['Shift ←', 'Shift →'], 'keysPan'],
  [['?'], 'keysHelp'],
]

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title={w('keys')} onClose={onClose}>
      <dl class="facts">
        {keys.map(([all, word]) => (
          <>
            <dt key={word}>
              {all.map((k) => (
                <>
                  <kbd key={k}>{k}</kbd>{' '}
                </>
              ))}
            </dt>
            <dd key={`${word}d`}>{w(word)}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  )
}
