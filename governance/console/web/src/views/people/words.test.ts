import { expect, test } from 'vitest'
import { words as w } from '~/views/people/words'

test('it is told what becomes of the tokens of an account', () => {
  expect(w('tokensSuspended', { n: 1 })).toBe('1 API token that it owns does not count until the account is enabled again.')
  expect(w('tokensSuspended', { n: 2 })).toContain('2 API tokens that it owns do not')
  expect(w('tokensEnd', { n: 1 })).toContain('1 API token that it owns is revoked')
})
