// The browser tests of the console: they run against a mesh that is there, whose
// addresses and account the environment names (e2e/support.ts). test/e2e starts
// one and runs them; by hand, against any: npm run e2e.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from '@playwright/test'

/** The browser of the system: none is downloaded. */
function chromium(): string {
  if (process.env.CHROMIUM) return process.env.CHROMIUM
  for (const name of ['chromium', 'chromium-browser', 'google-chrome']) {
    for (const dir of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(dir, name)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // the next one
      }
    }
  }
  throw new Error('there is no Chromium here: install it (Debian: chromium), or name one with CHROMIUM')
}

const results = fileURLToPath(new URL('../../../bin/console/playwright', import.meta.url))

export default defineConfig({
  testDir: 'e2e',
  outputDir: results,
  workers: 1,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  forbidOnly: true,
  reporter: [['list']],
  projects: [
    { name: 'tests', testMatch: '*.spec.ts' },
    // To record each step of these takes longer than the steps, and a picture may be of much.
    { name: 'pictures', testMatch: 'pictures.ts', outputDir: join(results, process.env.WEIR_STATE ?? ''), use: { trace: 'off', screenshot: 'off' }, expect: { timeout: 60_000 } },
  ],
  use: {
    locale: 'en-US',
    timezoneId: 'Asia/Shanghai',
    viewport: { width: 1280, height: 900 },
    contextOptions: { reducedMotion: 'reduce' },
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: chromium(),
      chromiumSandbox: false,
      args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    },
  },
})
