// Finds text for people that stands in the code instead of a dictionary: it would
// be missing in the other language. `npm run check` runs it.
import { readFileSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const attributes = new Set(['title', 'label', 'placeholder', 'alt', 'aria-label', 'text', 'hint', 'heading', 'lead', 'act', 'empty'])
// Names that are the same in every language.
const names = /^(Weir|Zipkin|JSON|YAML|HTTP|Dubbo|English|中文|p50|p90|p99|ms|s|n|v|x|Go|GET|POST|PUT|DELETE|PATCH|HEAD)$/
const letters = /\p{L}/u

let wrong = 0
function complain(file, node, text) {
  const { line } = file.getLineAndCharacterOfPosition(node.getStart(file))
  console.error(`${relative(root, file.fileName)}:${line + 1}: "${text}" stands in the code: put it into a dictionary`)
  wrong++
}
const said = (text) => letters.test(text) && !names.test(text.trim())

function visit(file, node) {
  if (ts.isJsxText(node) && said(node.text)) {
    const parent = node.parent
    const tag = ts.isJsxElement(parent) ? parent.openingElement.tagName.getText(file) : ''
    if (tag !== 'kbd' && tag !== 'code') complain(file, node, node.text.trim())
  }
  if (ts.isJsxAttribute(node) && node.initializer && ts.isStringLiteral(node.initializer)) {
    if (attributes.has(node.name.getText(file)) && said(node.initializer.text)) complain(file, node, node.initializer.text)
  }
  ts.forEachChild(node, (child) => visit(file, child))
}

function* sources(dir) {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) yield* sources(path)
    else if (entry.name.endsWith('.tsx') && !entry.name.endsWith('.test.tsx')) yield path
  }
}

for (const path of sources(join(root, 'src'))) {
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX)
  visit(file, file)
}
if (wrong > 0) process.exit(1)
