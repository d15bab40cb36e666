import { useEffect, useState } from 'preact/hooks'

/** useMedia reports whether a media query holds, and goes on reporting. */
export function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(query).matches)
  useEffect(() => {
    const m = matchMedia(query)
    const changed = () => setHolds(m.matches)
    changed()
    m.addEventListener('change', changed)
    return () => m.removeEventListener('change', changed)
  }, [query])
  return holds
}
