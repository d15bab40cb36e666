// Parts of the page that are loaded when they are first needed. One that could not
// be loaded is not lost: the next render, or the next call, tries it again.
import { createElement, type ComponentType } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { words as w } from '~/app/words'

/** LoadError is why a part of the page is not there. */
export class LoadError extends Error {
  constructor(
    /** The server answers, but has no such part: it belongs to another version. */
    readonly outdated: boolean,
    cause: unknown,
  ) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.name = 'LoadError'
  }

  /** Why, in words for people. */
  get detail(): string {
    return this.outdated ? w('newer') : w('unloadedPart')
  }
}

/** load loads a part of the page, or throws a LoadError. */
export async function load<T>(part: () => Promise<T>): Promise<T> {
  await mendStyles()
  try {
    return await part()
  } catch (cause) {
    throw new LoadError(await answers(), cause)
  }
}

/** answers reports whether the server that the page came from is there. */
async function answers(): Promise<boolean> {
  try {
    return (await fetch('/', { cache: 'no-store' })).ok
  } catch {
    return false
  }
}

/** mendStyles asks once more for stylesheets that did not come: whoever loads scripts thinks of them as asked for. */
async function mendStyles(): Promise<void> {
  const failed = [...document.querySelectorAll<HTMLLinkElement>('head link[rel="stylesheet"]')].filter((l) => l.dataset.failed !== undefined)
  await Promise.all(
    failed.map((old) => {
      const link = document.createElement('link')
      link.rel = 'stylesheet'
      link.crossOrigin = ''
      link.href = old.href
      return new Promise<void>((done) => {
        link.onload = () => done()
        link.onerror = () => done() // and is marked again
        old.replaceWith(link)
      })
    }),
  )
}

// An error of a link does not bubble, but is seen on its way down.
addEventListener(
  'error',
  (e) => {
    if (e.target instanceof HTMLLinkElement && e.target.rel === 'stylesheet') e.target.dataset.failed = ''
  },
  true,
)

/** later is a component that is loaded when it is first rendered, below a Suspense; its LoadError goes to the Guard above. */
export function later<P extends object>(part: () => Promise<{ default: ComponentType<P> }>): ComponentType<P> {
  let Loaded: ComponentType<P> | undefined
  let failed: { why: unknown } | undefined
  let loading: Promise<void> | undefined
  return function Later(props: P) {
    if (Loaded) return createElement(Loaded, props)
    if (failed) {
      const { why } = failed
      failed = undefined // whoever renders this again wants it tried again
      throw why
    }
    loading ??= load(part)
      .then(
        (m) => {
          Loaded = m.default
        },
        (why: unknown) => {
          failed = { why }
        },
      )
      .finally(() => {
        loading = undefined
      })
    throw loading
  }
}

const parts = new Map<() => Promise<unknown>, unknown>()

/** usePart loads something that a view needs to be whole; the view stands meanwhile, and says an error with a way to try again. */
export function usePart<T>(part: () => Promise<T>): { part?: T; error?: Error; retry: () => void } {
  const [tries, setTries] = useState(0)
  const [error, setError] = useState<Error>()
  const [, setLoaded] = useState(parts.has(part))
  useEffect(() => {
    if (parts.has(part)) return
    let gone = false
    setError(undefined)
    load(part).then(
      (p) => {
        parts.set(part, p)
        if (!gone) setLoaded(true)
      },
      (why: Error) => gone || setError(why),
    )
    return () => {
      gone = true
    }
  }, [part, tries])
  return { part: parts.get(part) as T | undefined, error, retry: () => setTries(tries + 1) }
}
