// Documents as YAML: read with the place of everything that is wrong, and edited
// in place, so that comments and order stay. The library is loaded when a
// document is first looked at.
import type { Document, LineCounter, Node, Pair, Scalar } from 'yaml'
import type { Route } from '~/views/routes/route'

export type Yaml = typeof import('yaml')

/** loadYaml loads the library. */
export const loadYaml = (): Promise<Yaml> => import('yaml')

/** Fault is something wrong at a place of the text. Lines count from 1. */
export interface Fault {
  line?: number
  column?: number
  /** The document's field, where it is about one. */
  field?: string
  message: string
}

/** Path leads to a value of a document. */
export type Path = readonly (string | number)[]

const options = { lineWidth: 0, flowCollectionPadding: false } as const

/** Draft is a text that was read. */
export interface Draft {
  text: string
  /** The document, where the text is one. */
  value?: Partial<Route> & Record<string, unknown>
  /** What keeps it from being read. */
  faults: Fault[]
  /** locate finds the place of a field such as "filters[1].retry.attempts", or of the nearest that is there. */
  locate(field: string): { line: number; column: number } | undefined
  /** edit returns the text with one value set; undefined takes it out. */
  edit(path: Path, value: unknown): string
}

/** Code of a fault that the reader words itself. */
export type OwnFault = 'notMapping' | 'tooLarge'

/** parse reads a text. own words what this console finds wrong by itself. */
export function parse(yaml: Yaml, text: string, own: (code: OwnFault, value: string) => string): Draft {
  const lines = new yaml.LineCounter()
  const doc: Document = yaml.parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const faults: Fault[] = doc.errors.map((e) => ({ ...place(lines, e.pos[0]), message: e.message }))
  if (faults.length === 0 && !yaml.isMap(doc.contents)) faults.push({ line: 1, column: 1, message: own('notMapping', '') })
  yaml.visit(doc, {
    Scalar(_, node: Scalar) {
      // Beyond this, the browser would write another number than it read.
      if (typeof node.value === 'number' && Number.isInteger(node.value) && !Number.isSafeInteger(node.value)) {
        faults.push({ ...place(lines, node.range?.[0] ?? 0), message: own('tooLarge', node.source ?? String(node.value)) })
      }
    },
  })
  return {
    text,
    value: faults.length === 0 ? (doc.toJS() as Draft['value']) : undefined,
    faults,
    locate: (field) => locate(yaml, doc, lines, field),
    edit: (path, value) => edit(yaml, text, path, value),
  }
}

function place(lines: LineCounter, offset: number): { line: number; column: number } {
  const p = lines.linePos(offset)
  return { line: p.line, column: p.col }
}

function locate(yaml: Yaml, doc: Document, lines: LineCounter, field: string): { line: number; column: number } | undefined {
  let node: unknown = doc.contents
  let rest = field
  let at: number | undefined = (node as Node | null)?.range?.[0]
  while (rest !== '') {
    if (rest.startsWith('.')) rest = rest.slice(1)
    const index = /^\[(\d+)\]/.exec(rest)
    if (index) {
      const item: unknown = yaml.isSeq(node) ? node.items[Number(index[1])] : undefined
      if (!yaml.isNode(item)) {
        // A single text stands for a list of one.
        if (yaml.isScalar(node) && index[1] === '0') {
          rest = rest.slice(index[0].length)
          continue
        }
        break
      }
      node = item
      at = item.range?.[0] ?? at
      rest = rest.slice(index[0].length)
      continue
    }
    const pair = yaml.isMap(node) ? longest(node.items, rest) : undefined
    if (!pair) break
    const key = pair.key as Scalar
    at = key.range?.[0] ?? at
    rest = rest.slice(String(key.value).length)
    node = pair.value
  }
  return at === undefined ? undefined : place(lines, at)
}

/** longest finds the pair that a field goes on with; keys may hold dots themselves. */
function longest(pairs: Pair[], field: string): Pair | undefined {
  let best: Pair | undefined
  let length = -1
  for (const p of pairs) {
    const key = String((p.key as Scalar | null)?.value ?? '')
    const next = field[key.length]
    if (field.startsWith(key) && (next === undefined || next === '.' || next === '[') && key.length > length) {
      best = p
      length = key.length
    }
  }
  return best
}

function edit(yaml: Yaml, text: string, path: Path, value: unknown): string {
  const doc = yaml.parseDocument(text)
  if (!yaml.isMap(doc.contents)) return text
  if (value === undefined) doc.deleteIn(path)
  else {
    // What should hold the value may be no collection yet.
    for (let i = 1; i < path.length; i++) {
      const parent = path.slice(0, i)
      if (!yaml.isCollection(doc.getIn(parent, true))) doc.setIn(parent, doc.createNode(typeof path[i] === 'number' ? [] : {}))
    }
    const before = doc.getIn(path, true)
    if (yaml.isScalar(before) && (value === null || typeof value !== 'object')) before.value = value
    else doc.setIn(path, doc.createNode(value))
  }
  return doc.toString(options)
}

/** textOf writes a document. Only small parts deep inside stand on one line, by their place and not by what is in the others, so that versions differ in the lines that differ. */
export function textOf(yaml: Yaml, value: unknown): string {
  const doc = new yaml.Document(value)
  const plain = (n: unknown): boolean => yaml.isScalar(n) || (yaml.isCollection(n) && (n.items.length === 0 || (yaml.isSeq(n) && n.items.every((i) => yaml.isScalar(i)))))
  yaml.visit(doc, {
    Collection(_, node, path) {
      const depth = path.filter((n) => yaml.isCollection(n)).length
      const small = yaml.isSeq(node) ? plain(node) : depth >= 3 && node.items.every((p) => plain((p as Pair).value))
      if (small && JSON.stringify(node.toJSON()).length <= 100) node.flow = true
    },
  })
  return doc.toString(options)
}
