// Documents as YAML, with the lines on which something is wrong. The package is
// large: this file is imported only by what is loaded when it is needed.
import { isNode, LineCounter, parseDocument, stringify } from 'yaml'
import { losesDigits } from '~/policy/form'
import { tidy, type Policy } from '~/policy/model'

export interface Wrong {
  line: number
  column: number
  message: string
}

export interface Read {
  /** The document; undefined where the text is none. */
  doc?: Policy
  wrong: Wrong[]
  /** lineOf is the line on which a place of the document stands, such as breaker.window. */
  lineOf: (place: string) => number | undefined
}

/** write writes a document as people do. */
export function write(p: Policy): string {
  return stringify(tidy(p), { lineWidth: 0 })
}

/** read reads what was typed. */
export function read(text: string, words: { mapping: string; digits: string }): Read {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true, version: '1.2' })
  const at = (offset: number) => {
    const p = lines.linePos(offset)
    return { line: Math.max(1, p.line), column: Math.max(1, p.col) }
  }
  const lineOf = (place: string) => {
    const path = place.split('.').filter((s) => s !== '')
    for (let n = path.length; n > 0; n--) {
      const node = document.getIn(path.slice(0, n), true)
      if (isNode(node) && node.range) return at(node.range[0]).line
    }
    return undefined
  }
  const wrong = document.errors.map((e) => ({ ...at(e.pos[0]), message: e.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '') }))
  if (wrong.length > 0) return { wrong, lineOf }
  const doc: unknown = document.toJS()
  if (!doc || typeof doc !== 'object' || Array.isArray(doc)) return { wrong: [{ line: 1, column: 1, message: words.mapping }], lineOf }
  if (losesDigits(doc)) return { wrong: [{ line: lineOf('fallback') ?? 1, column: 1, message: words.digits }], lineOf }
  return { doc: doc as Policy, wrong: [], lineOf }
}
