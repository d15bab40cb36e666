/** backoff is how long to wait after so many failures, in ms: full jitter up to 15 s, so that a thousand tabs do not come back as one. */
export function backoff(failures: number, random: () => number = Math.random): number {
  return 250 + random() * Math.min(15_000, 500 * 2 ** failures)
}
