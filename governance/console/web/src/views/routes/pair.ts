import type { Version } from '~/views/routes/route'

/** pair finds the two versions to compare: those that were chosen, else the newest and the one before it. Versions are the newest first. */
export function pair(versions: readonly Version[], a: string | undefined, b: string | undefined): [Version | undefined, Version | undefined] {
  const of = (text: string | undefined) => (text === undefined ? undefined : versions.find((v) => String(v.revision) === text))
  const to = of(b) ?? versions[0]
  const before = to === undefined ? undefined : versions[versions.indexOf(to) + 1]
  return [of(a) ?? before, to]
}
