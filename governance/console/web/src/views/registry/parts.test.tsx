import { render } from 'preact'
import { describe, expect, test } from 'vitest'
import { Callable, NoInterfaces } from '~/views/registry/parts'

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

describe('no Dubbo interface', () => {
  function said(unregistered: boolean, ...ports: string[]): string {
    const root = document.createElement('div')
    render(<NoInterfaces ports={ports.map((name) => ({ name }))} unregistered={unregistered} />, root)
    return root.textContent ?? ''
  }
  test('an HTTP service has none', () => expect(said(true, 'http')).toContain('An HTTP service has none.'))
  test('a port for Dubbo', () => expect(said(true, 'http', 'dubbo')).toContain('a port dubbo, and no instance says'))
  test('a port for Triple', () => expect(said(true, 'tri')).toContain('a port tri, and no instance says'))
  test('somebody has registered', () => expect(said(false, 'dubbo')).toContain('An HTTP service has none.'))
})
