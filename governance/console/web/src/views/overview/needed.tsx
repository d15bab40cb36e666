// What needs a person, as a list of few rows: alike things are one of them.
import { Link } from 'wouter-preact'
import { tagOf, useOpened } from '~/app/address'
import { words as common } from '~/app/words'
import { Said, say } from '~/said'
import { Badge, Button } from '~/ui/basic'
import { Icon } from '~/ui/icons'
import { Ago } from '~/ui/time'
import { sayAttention, severityTone, severityWord, type Attention } from './attention'
import { grouped, nameOf, sayGroup, sinceOf, type Group } from './groups'
import { words as w } from './words'

const first = 5
const firstNames = 3

export function Needed({ items, more }: { items: readonly Attention[]; more: number }) {
  const [whole, turn] = useOpened('open', 'needed')
  if (items.length === 0) {
    return (
      <div class="calm">
        <Icon name="ok" />
        <div>
          <strong>{w('calm')}</strong> <span class="muted">{w('calmHint')}</span>
        </div>
      </div>
    )
  }
  const groups = grouped(items)
  const hidden = groups.length - first
  return (
    <>
      <ul class="needed bounded">
        {(whole ? groups : groups.slice(0, first)).map((g) => {
          const { severity } = g.items[0]!
          const since = sinceOf(g)
          return (
            <li key={g.key}>
              <Badge tone={severityTone[severity] ?? 'idle'}>{severityWord(severity)}</Badge>
              {g.items.length === 1 ? <Link href={g.items[0]!.link}>{sayAttention(g.items[0]!)}</Link> : <Together group={g} />}
              <span class="when">
                {since && (
                  <>
                    {w('since')} <Ago at={since} />
                  </>
                )}
              </span>
            </li>
          )
        })}
      </ul>
      {(hidden > 0 || more > 0) && (
        <div class="rest">
          {hidden > 0 ? (
            <Button small aria-expanded={whole} onClick={turn}>
              {whole ? w('fewer') : common('more', { n: hidden })}
            </Button>
          ) : (
            <span class="muted">{w('attentionMore', { n: more })}</span>
          )}
          {whole && hidden > 0 && more > 0 && <span class="muted">{w('attentionMore', { n: more })}</span>}
        </div>
      )}
    </>
  )
}

/** Together is a group: how many, which, and why. */
function Together({ group: g }: { group: Group }) {
  const [whole, turn] = useOpened('open', tagOf(g.key))
  // One more takes no more room than to say so.
  const hidden = g.items.length > firstNames + 1 ? g.items.length - firstNames : 0
  const shown = whole || hidden === 0 ? g.items : g.items.slice(0, firstNames)
  return (
    <div class="together">
      <span>{sayGroup(g)}</span>
      {/* Where causes differ, those who want all want to know each. */}
      <ul class={whole && g.mixed ? 'sentences' : 'names'} aria-label={sayGroup(g)}>
        {shown.map((a) => (
          <li key={a.text}>
            <Link href={a.link} title={sayAttention(a)}>
              {whole && g.mixed ? sayAttention(a) : nameOf(a)}
            </Link>
          </li>
        ))}
        {(hidden > 0 || g.mixed) && (
          <li>
            <Button small kind="plain" aria-expanded={whole} onClick={turn}>
              {whole ? w('fewer') : hidden > 0 ? w('andMore', { n: hidden }) : w('eachCause')}
            </Button>
          </li>
        )}
      </ul>
      {g.why && (
        <span class="muted why" title={say(g.why)}>
          <Said text={g.why} />
        </span>
      )}
    </div>
  )
}
