// Differences of two texts, line by line.

export interface Line {
  kind: 'same' | 'add' | 'del' | 'skip'
  text: string
}

/** diffLines finds the fewest lines to take out and put in (Myers), and keeps some unchanged ones around them. */
export function diffLines(before: string, after: string, context = 3): Line[] {
  const a = before.split('\n')
  const b = after.split('\n')
  return folded(script(a, b), context)
}

function script(a: string[], b: string[]): Line[] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let endA = a.length
  let endB = b.length
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--
    endB--
  }
  const out: Line[] = a.slice(0, start).map((text) => ({ kind: 'same', text }))
  out.push(...middle(a.slice(start, endA), b.slice(start, endB)))
  out.push(...a.slice(endA).map((text): Line => ({ kind: 'same', text })))
  return out
}

// More than this many cells of the table are not worth a table: all goes out, all comes in.
const most = 4_000_000

function middle(a: string[], b: string[]): Line[] {
  if (a.length * b.length > most) {
    return [...a.map((text): Line => ({ kind: 'del', text })), ...b.map((text): Line => ({ kind: 'add', text }))]
  }
  const width = b.length + 1
  const longest = new Uint32Array((a.length + 1) * width)
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1]! + 1 : Math.max(longest[(i + 1) * width + j]!, longest[i * width + j + 1]!)
    }
  }
  const out: Line[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push({ kind: 'same', text: a[i]! })
      i++
      j++
    } else if (j >= b.length || (i < a.length && longest[(i + 1) * width + j]! >= longest[i * width + j + 1]!)) {
      out.push({ kind: 'del', text: a[i++]! })
    } else {
      out.push({ kind: 'add', text: b[j++]! })
    }
  }
  return out
}

function folded(lines: Line[], context: number): Line[] {
  const near = new Array<boolean>(lines.length).fill(false)
  lines.forEach((l, i) => {
    if (l.kind === 'same') return
    for (let k = Math.max(0, i - context); k <= Math.min(lines.length - 1, i + context); k++) near[k] = true
  })
  const out: Line[] = []
  for (let i = 0; i < lines.length; i++) {
    if (near[i]) {
      out.push(lines[i]!)
      continue
    }
    let n = 0
    while (i < lines.length && !near[i]) {
      n++
      i++
    }
    i--
    out.push({ kind: 'skip', text: String(n) })
  }
  return out
}
