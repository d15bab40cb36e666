// How the states of circuits look behind a chart: each has its colour, its hatch
// and its letter, so that no one of them is the only sign.
import type { Band } from '~/charts/types'
import { dictionary } from '~/i18n'

export interface BandLook {
  /** A design token. */
  color: string
  hatch: 'none' | 'rising' | 'falling' | 'cross' | 'dots'
}

const looks: Record<string, BandLook> = {
  open: { color: '--bad', hatch: 'rising' },
  forcedOpen: { color: '--forced', hatch: 'cross' },
  halfOpen: { color: '--warn', hatch: 'falling' },
  forcedClosed: { color: '--info', hatch: 'dots' },
  disabled: { color: '--idle', hatch: 'dots' },
  closed: { color: '--ok', hatch: 'none' },
}

export function bandLook(state: string): BandLook {
  return looks[state] ?? { color: '--idle', hatch: 'none' }
}

const letters = dictionary({
  en: { open: 'O', forcedOpen: 'FO', halfOpen: 'H', forcedClosed: 'FC', disabled: 'D', closed: 'C' },
  zh: { open: '开', forcedOpen: '强开', halfOpen: '半', forcedClosed: '强闭', disabled: '停', closed: '闭' },
})

export function bandLetter(state: string): string {
  return letters.has(state) ? letters(state) : '?'
}

/** present lists the states of bands that can be seen in a range, once each. */
export function present(bands: readonly Band[], from: number, to: number): Band[] {
  const seen = new Map<string, Band>()
  for (const b of bands) if (b.to > from && b.from < to && !seen.has(b.state)) seen.set(b.state, b)
  return [...seen.values()]
}

/** drawBand draws one band into a chart's plot, between two places in canvas pixels. */
export function drawBand(ctx: CanvasRenderingContext2D, look: BandLook & { paint: string; letter: string }, x0: number, x1: number, y0: number, height: number, ratio: number) {
  const width = Math.max(ratio, x1 - x0)
  ctx.save()
  ctx.beginPath()
  ctx.rect(x0, y0, width, height)
  ctx.clip()
  ctx.fillStyle = look.paint
  ctx.globalAlpha = 0.13
  ctx.fillRect(x0, y0, width, height)
  ctx.globalAlpha = 0.28
  hatch(ctx, look, x0, x0 + width, y0, height, ratio)
  ctx.globalAlpha = 0.9
  ctx.fillRect(x0, y0, width, 3 * ratio)
  ctx.font = `600 ${10 * ratio}px system-ui, sans-serif`
  ctx.textBaseline = 'top'
  ctx.textAlign = 'left'
  if (width > ctx.measureText(look.letter).width + 6 * ratio) ctx.fillText(look.letter, x0 + 3 * ratio, y0 + 5 * ratio)
  ctx.restore()
}

// Lines are laid by the canvas's own grid, not the band's: bands that touch go on in each other.
function hatch(ctx: CanvasRenderingContext2D, look: BandLook & { paint: string }, x0: number, x1: number, y0: number, height: number, ratio: number) {
  const gap = 8 * ratio
  ctx.strokeStyle = look.paint
  ctx.lineWidth = ratio
  ctx.beginPath()
  if (look.hatch === 'rising' || look.hatch === 'cross') {
    for (let x = Math.floor((x0 - height) / gap) * gap; x < x1; x += gap) {
      ctx.moveTo(x, y0 + height)
      ctx.lineTo(x + height, y0)
    }
  }
  if (look.hatch === 'falling' || look.hatch === 'cross') {
    for (let x = Math.floor((x0 - height) / gap) * gap; x < x1; x += gap) {
      ctx.moveTo(x, y0)
      ctx.lineTo(x + height, y0 + height)
    }
  }
  if (look.hatch === 'dots') {
    for (let x = Math.ceil(x0 / gap) * gap; x < x1; x += gap) {
      for (let y = y0 + gap; y < y0 + height; y += gap) {
        ctx.moveTo(x, y)
        ctx.lineTo(x + 1.5 * ratio, y)
      }
    }
  }
  ctx.stroke()
}
