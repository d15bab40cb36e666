// States of circuits: one word, shape and colour each, everywhere.
import { words as w } from '~/app/words'
import { Badge, type Tone } from '~/ui/basic'
import type { IconName } from '~/ui/icons'

export const circuitStates = ['closed', 'halfOpen', 'open', 'forcedOpen', 'forcedClosed', 'disabled'] as const
export type CircuitState = (typeof circuitStates)[number]

const look: Record<CircuitState, { tone: Tone; icon: IconName }> = {
  closed: { tone: 'ok', icon: 'ok' },
  halfOpen: { tone: 'warn', icon: 'half' },
  open: { tone: 'bad', icon: 'bolt' },
  forcedOpen: { tone: 'forced', icon: 'lock' },
  forcedClosed: { tone: 'info', icon: 'lock' },
  disabled: { tone: 'idle', icon: 'dot' },
}

export function isCircuitState(s: string): s is CircuitState {
  return (circuitStates as readonly string[]).includes(s)
}

export function stateWord(s: string): string {
  return isCircuitState(s) ? w(s) : s
}

export function StateBadge({ state, n, of }: { state: string; n?: number; of?: number }) {
  const l = isCircuitState(state) ? look[state] : { tone: 'idle' as const, icon: 'dot' as const }
  return (
    <Badge tone={l.tone} icon={l.icon}>
      {stateWord(state)}
      {n !== undefined && of !== undefined && of > 1 && ` ${n}/${of}`}
    </Badge>
  )
}

/** States shows the states of the circuits of several instances, the worst first; all closed is one badge. */
export function States({ states }: { states: Record<string, number> | undefined }) {
  const all = Object.entries(states ?? {}).filter(([, n]) => n > 0)
  if (all.length === 0) return <span class="muted">–</span>
  const of = all.reduce((sum, [, n]) => sum + n, 0)
  const worst = (s: string) => ['forcedOpen', 'open', 'halfOpen', 'forcedClosed', 'disabled', 'closed'].indexOf(s)
  all.sort(([a], [b]) => worst(a) - worst(b))
  const shown = all.length > 1 ? all.filter(([s]) => s !== 'closed') : all
  return (
    <span class="row tight">
      {shown.map(([s, n]) => (
        <StateBadge key={s} state={s} n={n} of={all.length > 1 ? of : undefined} />
      ))}
    </span>
  )
}
