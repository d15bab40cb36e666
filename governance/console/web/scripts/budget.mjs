// Says what the first load weighs, and fails when it is too much: the entry, what
// it imports at once, the first view, and their styles, each as gzip sends it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

const budget = 150 * 1024
const out = process.env.WEIR_CONSOLE_OUT ?? fileURLToPath(new URL('../../assets/app', import.meta.url))
const manifest = JSON.parse(readFileSync(join(out, '.vite/manifest.json'), 'utf8'))
const files = new Set(['index.html'])
function take(key) {
  const chunk = manifest[key]
  if (!chunk || files.has(chunk.file)) return
  files.add(chunk.file)
  for (const css of chunk.css ?? []) files.add(css)
  for (const next of chunk.imports ?? []) take(next)
}
take('index.html')
take('src/views/overview/index.tsx')
let sum = 0
for (const f of files) sum += gzipSync(readFileSync(join(out, f)), { level: 9 }).length
console.log(`first load: ${(sum / 1024).toFixed(1)} KB gzip in ${files.size} files, ${budget / 1024} KB allowed`)
if (sum > budget) process.exit(1)
