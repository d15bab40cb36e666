import { expect, test } from 'vitest'
import { pair } from '~/views/routes/pair'
import type { Version } from '~/views/routes/route'

const versions = [9, 5, 2].map((revision) => ({ revision })) as Version[]
test.each([
  [undefined, undefined, [5, 9]],
  ['2', undefined, [2, 9]],
  [undefined, '5', [2, 5]],
  ['9', '2', [9, 2]],
  [undefined, '2', [undefined, 2]],
  ['77', 'x', [5, 9]],
])('from %s to %s', (a, b, want) => expect(pair(versions, a, b).map((v) => v?.revision)).toEqual(want))
test('nothing to compare', () => expect(pair([], undefined, undefined)).toEqual([undefined, undefined]))
