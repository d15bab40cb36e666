// Says in another language what the server said in English. A sentence is known by
// its format string in the Go code, whose verbs stand for what differs from one
// time to the next; those parts may be sentences again. sentences.json has all
// format strings there are.

/** Sentences by format string. {1} stands for its first verb; null says that the page never shows it by itself. */
export type Sentences = Record<string, string | null>

export interface Catalogue {
  sentences: Sentences
  /** What is counted, such as "instance", with {n} for the number. */
  nouns: Record<string, string>
  /** Single words, which are translated inside sentences only: alone, they may be names. */
  terms: Record<string, string>
  /** Instants inside sentences, as the page writes them. */
  time: (instant: string) => string
}

export const verb = /%(?:\[(\d+)\])?[-+# 0]*\d*(?:\.\d+)?([a-zA-Z%])/g

interface Pattern {
  match: RegExp
  /** The number of the verb of each group. */
  groups: number[]
  quoted: boolean[]
  longest: string
  letters: number
  says: string
}

interface Said {
  text: string
  /** How many letters of prose stayed as they were. */
  left: number
}

const remembered = 2000
// What is longer, or takes more tries, is not what the server says, and left as it is.
const longest = 1500
const mostTries = 600

/** translator returns what says a sentence by a catalogue; undefined for one that it does not know. */
export function translator(c: Catalogue): (text: string) => string | undefined {
  const plain = new Map<string, string>()
  const patterns: Pattern[] = []
  for (const [format, says] of Object.entries(c.sentences)) {
    if (says === null) continue
    const p = compiled(format, says)
    if (p) patterns.push(p)
    else plain.set(format.replaceAll('%%', '%'), says)
  }
  patterns.sort((a, b) => b.letters - a.letters)
  const nouns = Object.entries(c.nouns).map(([noun, says]) => ({ match: new RegExp(`^(\\d+) ${escaped(noun)}s?$`), says }))

  function whole(text: string): Said | undefined {
    const fixed = plain.get(text)
    if (fixed !== undefined) return { text: fixed, left: 0 }
    for (const n of nouns) {
      const m = n.match.exec(text)
      if (m) return { text: n.says.replace('{n}', m[1]!), left: 0 }
    }
    let best: Said | undefined
    for (const p of patterns) {
      if (!text.includes(p.longest)) continue
      const m = p.match.exec(text)
      if (!m) continue
      const said: string[] = []
      let left = 0
      let loose = false
      p.groups.forEach((n, i) => {
        const part = inner(m[i + 1] ?? '', p.quoted[i]!)
        said[n] = part.text
        left += part.left
        loose ||= part.left >= 1
      })
      // Few words fit what they are not meant for, such as "… and …".
      if (loose && p.letters < 10) continue
      if (best && best.left <= left) continue
      best = { text: tidy(p.says.replace(/\{(\d+)\}/g, (_, n: string) => said[Number(n)] ?? '')), left }
      if (left === 0) break
    }
    return best
  }

  // What stands in the place of a verb: a name, a number, or a sentence.
  function inner(text: string, quoted: boolean): Said {
    if (quoted || text === '') return { text, left: 0 }
    const term = c.terms[text]
    if (term !== undefined && Object.hasOwn(c.terms, text)) return { text: term, left: 0 }
    if (instant.test(text)) return { text: c.time(text), left: 0 }
    return sentence(text) ?? { text, left: prose(text) }
  }

  // Parts come again and again as a sentence is taken apart.
  let parts = new Map<string, Said | undefined>()
  function sentence(text: string): Said | undefined {
    if (parts.has(text)) return parts.get(text)
    if (parts.size >= mostTries) return undefined
    parts.set(text, undefined)
    const said = taken(text)
    parts.set(text, said)
    return said
  }

  function taken(text: string): Said | undefined {
    const lead = /^(: |; |, | )/.exec(text)
    if (lead) {
      const rest = sentence(text.slice(lead[0].length))
      return rest && { text: (joints[lead[0]] ?? '') + rest.text, left: rest.left }
    }
    let best = whole(text)
    if (best?.left === 0) return best
    const better = (s: Said | undefined) => {
      if (s && (!best || s.left < best.left)) best = s
    }
    for (const joint of ['; ', ': ', ', ', ' (']) better(split(text, joint))
    if (!best && text.endsWith('.')) {
      const s = sentence(text.slice(0, -1))
      best = s && { text: `${s.text}。`, left: s.left }
    }
    return best
  }

  // A sentence of two, such as "field: what is wrong; what to do".
  function split(text: string, joint: string): Said | undefined {
    let best: Said | undefined
    for (let at = text.indexOf(joint), tries = 0; at > 0 && tries < 12; at = text.indexOf(joint, at + joint.length), tries++) {
      const closing = joint === ' ('
      if (closing && !text.endsWith(')')) return undefined
      const [head, tail] = [text.slice(0, at), text.slice(at + joint.length, closing ? -1 : undefined)]
      const first = sentence(head)
      const second = sentence(tail)
      if (!first && !second) continue
      const left = (first?.left ?? prose(head)) + (second?.left ?? prose(tail))
      if (best && best.left <= left) continue
      const end = closing ? '）' : ''
      best = { text: tidy((first?.text ?? head) + joints[joint]! + (second?.text ?? tail) + end), left }
      if (left === 0) return best
    }
    return best
  }

  const memory = new Map<string, string | undefined>()
  return (text) => {
    if (memory.has(text)) return memory.get(text)
    parts = new Map()
    const said = text.length > longest ? undefined : sentence(text)?.text
    if (memory.size >= remembered) memory.clear()
    memory.set(text, said)
    return said
  }
}

const joints: Record<string, string> = { ': ': '：', '; ': '；', ', ': '、', ' (': '（' }
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

/** prose measures what reads like English: three words in a row weigh, and so do sentences that were not told apart. */
function prose(text: string): number {
  if (/[a-z']+ [a-z']+ [a-z']+/i.test(text)) return text.length
  return /[:;] /.test(text) ? 1 : (text.split(' ').length - 1) / 10
}

function compiled(format: string, says: string): Pattern | undefined {
  const groups: number[] = []
  const quoted: boolean[] = []
  const literals: string[] = []
  let source = ''
  let from = 0
  let literal = ''
  for (const m of format.matchAll(verb)) {
    literal += format.slice(from, m.index)
    from = m.index + m[0].length
    if (m[2] === '%') {
      literal += '%'
      continue
    }
    source += escaped(literal)
    literals.push(literal)
    literal = ''
    groups.push(m[1] ? Number(m[1]) : groups.length + 1)
    quoted.push(m[2] === 'q')
    source += group(m[2]!)
  }
  if (groups.length === 0) return undefined
  literal += format.slice(from)
  literals.push(literal)
  source += escaped(literal)
  return {
    match: new RegExp(`^${source}$`, 's'), groups, quoted, says,
    longest: literals.reduce((a, b) => (b.length > a.length ? b : a)),
    letters: literals.join('').replace(/[^a-z]/gi, '').length,
  }
}

function group(verb: string): string {
  switch (verb) {
    case 'd':
      return '(-?\\d+)'
    case 'g':
    case 'f':
      return '(-?[\\d.]+)'
    case 'q':
      return '("(?:[^"\\\\]|\\\\.)*"|`[^`]*`)'
    default:
      return '(.*?)'
  }
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** tidy takes out the spaces that names and numbers need, and Chinese does not. */
function tidy(text: string): string {
  return text.replace(/([\u3000-\u9fff\uff00-\uffef]) +(?=[\u3000-\u9fff\uff00-\uffef])/g, '$1')
}
