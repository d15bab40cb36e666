import { render } from 'preact'
import { describe, expect, test } from 'vitest'
import { Callable } from '~/views/registry/parts'

function shown(callable: number, kept: number, instances: number): { text: string; tone: string } {
  const root = document.createElement('div')
  render(<Callable callable={callable} kept={kept} instances={instances} />, root)
  return { text: root.textContent ?? '', tone: root.querySelector('.badge')?.className ?? '' }
}

describe('how many instances are called', () => {
  test('all of them', () => expect(shown(3, 0, 3)).toEqual({ text: 'all 3 called', tone: 'badge ok' }))
  test('some', () => expect(shown(2, 0, 3)).toEqual({ text: '2 of 3 called', tone: 'badge warn' }))
  test('all, and some though they are not ready', () => expect(shown(3, 2, 3)).toEqual({ text: '3 of 3 called, 2 of them kept', tone: 'badge warn' }))
})
