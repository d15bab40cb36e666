// What instances are called.

/** namesOf gives each instance its name, and the begin of its id where others have the same. */
export function namesOf(all: readonly { instance: string; name?: string }[]): Map<string, string> {
  const times = new Map<string, number>()
  for (const i of all) if (i.name) times.set(i.name, (times.get(i.name) ?? 0) + 1)
  return new Map(all.map((i) => [i.instance, !i.name ? i.instance : times.get(i.name) === 1 ? i.name : `${i.name} ${i.instance.slice(0, 8)}`]))
}
