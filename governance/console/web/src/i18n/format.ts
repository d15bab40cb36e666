// How figures and times are written: short enough for a table, never without a
// unit, and the same everywhere.
import { lang, formatNumber } from '~/i18n'

const locale = () => (lang.value === 'zh' ? 'zh-CN' : 'en-GB')

/** significant rounds to three digits: more is noise on a dashboard. */
function significant(v: number): string {
  const a = Math.abs(v)
  return formatNumber(v, a >= 100 ? 0 : a >= 10 ? 1 : 2)
}

/** Calls per second, such as "12.3/s". */
export function rate(v: number | undefined): string {
  if (v === undefined) return '–'
  if (v > 0 && v < 0.01) return '<0.01/s'
  return v >= 10_000 ? `${significant(v / 1000)}k/s` : `${significant(v)}/s`
}

/** A count, such as "1.2k". */
export function count(v: number | undefined): string {
  if (v === undefined) return '–'
  if (Math.abs(v) >= 1e9) return `${significant(v / 1e9)}G`
  if (Math.abs(v) >= 1e6) return `${significant(v / 1e6)}M`
  if (Math.abs(v) >= 1e4) return `${significant(v / 1e3)}k`
  return formatNumber(v, 0)
}

/** A part of a hundred, such as "0.3 %". What is not nothing does not read 0. */
export function percent(v: number | undefined): string {
  if (v === undefined) return '–'
  if (v > 0 && v < 0.01) return '<0.01 %'
  return `${significant(v)} %`
}

/** A latency from milliseconds, such as "840 µs", "12.3 ms", "1.2 s". */
export function ms(v: number | undefined | null): string {
  if (v === undefined || v === null || Number.isNaN(v)) return '–'
  const a = Math.abs(v)
  if (a === 0) return '0 ms'
  if (a < 1) return `${significant(v * 1000)} µs`
  if (a < 1000) return `${significant(v)} ms`
  if (a < 60_000) return `${significant(v / 1000)} s`
  return span(v / 1000)
}

/** A span of time from seconds, in its two largest units: "2 h 5 min". */
export function span(seconds: number): string {
  const zh = lang.value === 'zh'
  const units: [number, string][] = zh
    ? [[86400, ' 天'], [3600, ' 小时'], [60, ' 分'], [1, ' 秒']]
    : [[86400, ' d'], [3600, ' h'], [60, ' min'], [1, ' s']]
  let left = Math.max(0, Math.round(seconds))
  const out: string[] = []
  for (const [size, unit] of units) {
    if (left >= size || (size === 1 && out.length === 0)) {
      out.push(`${Math.floor(left / size)}${unit}`)
      left %= size
    } else if (out.length > 0) break
    if (out.length === 2) break
  }
  return out.join(' ')
}

/** Bytes, such as "1.2 GiB". */
export function bytes(v: number | undefined): string {
  if (v === undefined) return '–'
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let i = 0
  while (v >= 1024 && i < units.length - 1) {
    v /= 1024
    i++
  }
  return `${significant(v)} ${units[i]}`
}

/** The time of day, with the date where it is not today. */
export function time(t: Date | string | number, now = new Date()): string {
  const d = new Date(t)
  if (Number.isNaN(d.getTime())) return '–'
  const clock = d.toLocaleTimeString(locale(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
  if (d.toDateString() === now.toDateString()) return clock
  return `${d.toLocaleDateString(locale(), { year: d.getFullYear() === now.getFullYear() ? undefined : 'numeric', month: 'short', day: 'numeric' })} ${clock}`
}

/** Date and time in full, with the zone: what a title shows. */
export function fullTime(t: Date | string | number): string {
  const d = new Date(t)
  if (Number.isNaN(d.getTime())) return '–'
  return d.toLocaleString(locale(), { dateStyle: 'full', timeStyle: 'long' })
}

/** How long ago, or until: "3 min ago", "in 5 s". */
export function ago(t: Date | string | number, now = Date.now()): string {
  const s = (now - new Date(t).getTime()) / 1000
  if (Number.isNaN(s)) return '–'
  const zh = lang.value === 'zh'
  if (Math.abs(s) < 1.5) return zh ? '刚刚' : 'just now'
  const text = span(Math.abs(s)).split(/(?<=[a-z秒分时天]) (?=\d)/)[0] ?? ''
  if (s >= 0) return zh ? `${text}前` : `${text} ago`
  return zh ? `${text}后` : `in ${text}`
}

const goUnits: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** goDuration reads a duration as the APIs write it ("1m30s") into milliseconds; NaN for none. */
export function goDuration(text: string | undefined): number {
  if (text === undefined || text === '') return NaN
  let total = 0
  let rest = text.startsWith('-') ? text.slice(1) : text
  if (rest === '0') return 0
  while (rest !== '') {
    const m = /^(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h)/.exec(rest)
    if (!m) return NaN
    total += Number(m[1]) * (goUnits[m[2]!] ?? NaN)
    rest = rest.slice(m[0].length)
  }
  return text.startsWith('-') ? -total : total
}

/** toGoDuration writes milliseconds as the APIs read them. */
export function toGoDuration(v: number): string {
  if (v % 3_600_000 === 0) return `${v / 3_600_000}h`
  if (v % 60_000 === 0) return `${v / 60_000}m`
  if (v % 1000 === 0) return `${v / 1000}s`
  return `${v}ms`
}
