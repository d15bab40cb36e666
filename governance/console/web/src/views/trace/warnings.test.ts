import { afterEach, expect, test } from 'vitest'
import { setLang } from '~/i18n'
import { fetchCatalogue } from '~/said'
import { told } from './warnings'

afterEach(() => setLang('en'))

test('warnings are sentences in English', () => {
  setLang('en')
  expect(told('no span has a time')).toBe('No span has a time.')
})

test('and in Chinese, apart from one that is not known', async () => {
  setLang('zh')
  await fetchCatalogue()
  await expect.poll(() => told('no span has a time')).toBe('所有 Span 都没有时间。')
  expect(told('the moon is full')).toBe('The moon is full.')
})
