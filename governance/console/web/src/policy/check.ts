// The dry run of a document while it is written.
import { useEffect, useState } from 'preact/hooks'
import { answer, api, Problem } from '~/api/client'
import type { Policy, PolicyAnswer } from '~/policy/model'

export interface Checked {
  /** What a write would make of it, and who would have to enforce it. */
  answer?: PolicyAnswer
  problem?: Problem
  /** It is being asked about, or is about to be. */
  busy: boolean
}

/** useCheck asks what a write would make of a document, once it has rested for a moment; undefined is not asked about. */
export function useCheck(doc: Policy | undefined, allowUnknown: boolean): Checked {
  const [state, setState] = useState<Checked>({ busy: false })
  const text = doc === undefined ? undefined : JSON.stringify(doc)
  useEffect(() => {
    if (text === undefined) {
      setState({ busy: false })
      return
    }
    setState((s) => ({ ...s, busy: true }))
    const aborted = new AbortController()
    const timer = setTimeout(async () => {
      try {
        const got = await answer(api.POST('/api/v1/policies/check', { body: JSON.parse(text) as Policy, params: { query: allowUnknown ? { allowUnknown } : {} }, signal: aborted.signal }))
        if (!aborted.signal.aborted) setState({ answer: got, busy: false })
      } catch (err) {
        if (aborted.signal.aborted) return
        setState({ problem: err instanceof Problem ? err : new Problem(0, String(err)), busy: false })
      }
    }, 350)
    return () => {
      clearTimeout(timer)
      aborted.abort()
    }
  }, [text, allowUnknown])
  return state
}

/** isUnknown reports whether it was refused because nothing is known of an application, which may be meant. */
export function isUnknown(p: Problem | undefined): boolean {
  return p?.errors.some((e) => e.location === 'body.target' && e.message?.startsWith('nothing is known of')) ?? false
}
