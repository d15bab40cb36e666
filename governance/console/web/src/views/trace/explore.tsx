import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { useAddress } from '~/app/address'
import { Detail } from './detail'
import { find, textsOf } from './find'
import { Help } from './help'
import { Minimap } from './minimap'
import { foldedOf, foldsOf, levelsOf } from './folds'
import { nextOf, revealed, rowOf, toggled, visible, type Trace, type Tree } from './rows'
import { formatPart, panned, parsePart, zoomed, type Part } from './time'
import { Toolbar } from './toolbar'
import { Waterfall } from './waterfall'

const typing = (e: KeyboardEvent) => e.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)

/** Explore is the waterfall with all that moves in it. What is chosen stands in the address: span, find, part, critical, levels and fold. */
export function Explore({ trace, tree, colors }: { trace: Trace; tree: Tree; colors: ReadonlyMap<string, string> }) {
  const address = useAddress()
  const { spans, duration } = trace
  const [dragged, setDragged] = useState<Part>()
  const [reveal, setReveal] = useState(0)
  const [focus, setFocus] = useState(0)
  const [help, setHelp] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  const said = address.get('span')
  const selected = said === undefined ? -1 : (tree.byKey.get(said) ?? tree.byKey.get(`${said}.server`) ?? -1)
  const [active, setActive] = useState(Math.max(0, selected))
  const query = address.get('find') ?? ''
  const [levels, folds] = [address.get('levels'), address.get('fold')]
  const collapsed = useMemo(() => foldedOf(tree, spans, { levels, fold: folds }), [tree, spans, levels, folds])
  const closed = useRef(collapsed)
  closed.current = collapsed
  const { set } = address
  const setCollapsed = useCallback(
    (next: ReadonlySet<number>) => {
      if (next === closed.current) return
      closed.current = next // what is done before the next drawing stands on it
      set({ ...foldsOf(tree, spans, next, levelsOf(levels)) }, { replace: true })
    },
    [set, tree, spans, levels],
  )
  const critical = address.get('critical') !== 'off'
  const zoom = address.get('part')
  const part = useMemo(() => dragged ?? parsePart(zoom, duration), [dragged, zoom, duration])
  const isZoomed = part.from > 0 || part.to < duration

  const texts = useMemo(() => textsOf(spans), [spans])
  const found = useMemo(() => find(texts, query), [texts, query])
  const matches = useMemo(() => new Set(found), [found])
  const rows = useMemo(() => visible(tree.end, collapsed), [tree, collapsed])
  const kinds = useMemo(() => {
    const of = (is: (i: number) => unknown) => spans.flatMap((_, i) => (is(i) ? [i] : []))
    return { error: of((i) => spans[i]!.error), refused: of((i) => spans[i]!.refused), fallback: of((i) => spans[i]!.fallback) }
  }, [spans])

  const grid = () => document.querySelector<HTMLElement>('.wf')
  const to = useCallback(
    (span: number) => {
      if (span < 0) return
      setCollapsed(revealed(tree.parent, closed.current, span))
      setActive(span)
      setReveal((n) => n + 1)
    },
    [tree, setCollapsed],
  )
  const select = useCallback(
    (span: number, replace = selected >= 0) => {
      to(span)
      address.set({ span: tree.keys[span] }, { replace })
    },
    [address, selected, to, tree],
  )
  // Details that are open follow the keyboard.
  const go = (span: number) => {
    if (span < 0) return
    if (selected >= 0) select(span, true)
    else to(span)
  }
  const close = useCallback(() => {
    address.set({ span: undefined }, { replace: true })
    grid()?.focus()
  }, [address])
  useEffect(() => to(selected), [selected]) // an address that was opened, or gone back to
  const sought = useRef(selected >= 0 ? query : '') // a span that was asked for goes before what is found
  useEffect(() => {
    if (query !== sought.current && found.length > 0 && !matches.has(active)) to(nextOf(found, active - 1, 1))
    sought.current = query
  }, [found])
  useEffect(() => {
    // What was closed around the active span is active in its place: the last row before it.
    if (rowOf(rows, active) < 0) setActive(rows.findLast((r) => r < active) ?? 0)
  }, [rows, active])
  const setPart = (p: Part, done: boolean) => {
    setDragged(done ? undefined : p)
    if (done) address.set({ part: formatPart(p, duration) }, { replace: true })
  }
  const zoomBy = (factor: number) => setPart(Number.isFinite(factor) ? zoomed(part, duration, factor) : { from: 0, to: duration }, true)
  const match = (step: 1 | -1) => go(nextOf(found, active, step))
  const fold = (span: number) => {
    setCollapsed(toggled(closed.current, span))
  }
  const setCritical = () => address.set({ critical: critical ? 'off' : undefined }, { replace: true })

  /** Keys that work wherever nobody types; those of the rows only where the waterfall has the keyboard. */
  function anywhere(e: KeyboardEvent): boolean {
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e) || document.querySelector('dialog[open]')) return false
    switch (e.key) {
      case 'n':
      case 'p':
        match(e.key === 'n' ? 1 : -1)
        grid()?.focus({ preventScroll: true })
        break
      case 'e':
        go(nextOf(kinds.error, active, 1))
        grid()?.focus({ preventScroll: true })
        break
      case 'c':
        setCritical()
        break
      case 'f':
        input.current?.focus()
        input.current?.select()
        break
      case '+':
      case '=':
        zoomBy(0.5)
        break
      case '-':
        zoomBy(2)
        break
      case '0':
        zoomBy(Infinity)
        break
      case '?':
        setHelp(true)
        break
      default:
        return false
    }
    return true
  }
  const listen = useRef(anywhere)
  listen.current = anywhere
  useEffect(() => {
    const key = (e: KeyboardEvent) => {
      if (listen.current(e)) e.preventDefault()
    }
    addEventListener('keydown', key)
    return () => removeEventListener('keydown', key)
  }, [])

  function key(e: KeyboardEvent, page: number) {
    if (e.ctrlKey || e.metaKey || e.altKey) return
    const row = rowOf(rows, active)
    const at = (r: number) => go(rows[Math.min(rows.length - 1, Math.max(0, r))] ?? -1)
    const open = tree.children[active]! > 0 && !collapsed.has(active)
    if (e.shiftKey && (e.key === 'ArrowLeft' || e.key === 'ArrowRight')) setPart(panned(part, duration, e.key === 'ArrowLeft' ? -0.2 : 0.2), true)
    else if (e.key === 'ArrowDown') at(row + 1)
    else if (e.key === 'ArrowUp') at(row - 1)
    else if (e.key === 'PageDown') at(row + page)
    else if (e.key === 'PageUp') at(row - page)
    else if (e.key === 'Home') at(0)
    else if (e.key === 'End') at(rows.length - 1)
    else if (e.key === 'ArrowLeft') {
      if (open) fold(active)
      else go(tree.parent[active]!)
    } else if (e.key === 'ArrowRight') {
      if (open) at(row + 1)
      else if (tree.children[active]! > 0) fold(active)
    } else if (e.key === 'Enter') {
      select(active)
      setFocus((n) => n + 1)
    } else if (e.key === 'Escape' && selected >= 0) close()
    else return
    e.preventDefault()
  }

  const shown = spans[selected]
  const onCaller = useCallback(() => {
    const up = tree.parent[selected] ?? -1
    if (up >= 0) select(up, true)
  }, [tree, selected, select])
  return (
    <section class="card wf-card">
      <Toolbar
        input={input}
        query={query}
        found={found.length}
        at={found.indexOf(active) + 1}
        depth={trace.depth}
        critical={critical}
        zoomed={isZoomed}
        jumps={{ error: kinds.error.length > 0, refused: kinds.refused.length > 0, fallback: kinds.fallback.length > 0 }}
        onQuery={(q) => address.set({ find: q }, { replace: true })}
        onMatch={match}
        onJump={(what) => go(nextOf(kinds[what], active, 1))}
        onLevels={(n) => address.set({ levels: n, fold: undefined }, { replace: true })}
        onCritical={setCritical}
        onZoom={zoomBy}
        onHelp={() => setHelp(true)}
      />
      <Minimap spans={spans} colors={colors} total={duration} part={part} change={setPart} />
      <div class={`wf-both ${shown ? 'with-detail' : ''}`}>
        <Waterfall spans={spans} tree={tree} rows={rows} colors={colors} part={part} critical={critical} collapsed={collapsed} matches={matches} active={active} selected={selected} reveal={reveal} onActive={setActive} onSelect={select} onFold={fold} onKey={key} />
        {shown && <Detail span={shown} caller={spans[shown.parent]} traceStart={trace.start} traceDuration={duration} focus={focus} onClose={close} onCaller={onCaller} />}
      </div>
      {help && <Help onClose={() => setHelp(false)} />}
    </section>
  )
}
