import { expect, test } from 'vitest'
import { words as w } from '~/views/people/words'

test('it is told how many tokens outlive an account', () => {
  expect(w('tokensStay', { n: 1 })).toBe('1 API token that it made goes on working: revoke it below.')
  expect(w('tokensStay', { n: 2 })).toContain('2 API tokens that it made go on')
})
