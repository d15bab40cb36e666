// The time range of a view: it stands in the address, and one that ends now moves
// on by itself in steps, so that a view does not ask anew at every render.
import { useEffect, useMemo, useState } from 'preact/hooks'
import { parseRange, useAddress, type Range, type RangeName } from '~/app/address'

/** stepOf is how often a range that ends now moves on, in seconds. */
export function stepOf(seconds: number): number {
  return seconds <= 900 ? 5 : seconds <= 3600 ? 10 : 60
}

/** useRange returns the range of the address. */
export function useRange(otherwise: RangeName = '1h'): Range {
  const address = useAddress()
  const [from, to, name] = [address.get('from'), address.get('to'), address.get('range')]
  const [now, setNow] = useState(() => Date.now() / 1000)
  const range = useMemo(() => {
    const get = (n: string) => ({ from, to, range: name })[n]
    const first = parseRange(get, now, otherwise)
    if (first.name === undefined) return first
    const step = stepOf(first.seconds)
    return parseRange(get, Math.ceil(now / step) * step, otherwise)
  }, [from, to, name, now, otherwise])
  const moves = range.name !== undefined
  const step = stepOf(range.seconds)
  useEffect(() => {
    if (!moves) return
    const timer = setInterval(() => {
      if (!document.hidden) setNow(Date.now() / 1000)
    }, step * 1000)
    return () => clearInterval(timer)
  }, [moves, step])
  return range
}
