import { render } from 'preact'
import { describe, expect, test } from 'vitest'
import { CalledBy, Callable, Doubts, InClusters, NoInterfaces } from '~/views/registry/parts'

function shown(callable: number, kept: number, instances: number, standby = 0): { text: string; tone: string } {
  const root = document.createElement('div')
  render(<Callable callable={callable} kept={kept} standby={standby} instances={instances} />, root)
  return { text: root.textContent ?? '', tone: root.querySelector('.badge')?.className ?? '' }
}

describe('how many instances are called', () => {
  test('all of them', () => expect(shown(3, 0, 3)).toEqual({ text: 'all 3 called', tone: 'badge ok' }))
  test('some', () => expect(shown(2, 0, 3)).toEqual({ text: '2 of 3 called', tone: 'badge warn' }))
  test('some, and the rest stand by', () => expect(shown(2, 0, 4, 2)).toEqual({ text: '2 of 4 called, 2 stand by', tone: 'badge ok' }))
  test('some, and one of the rest stands by', () => expect(shown(2, 0, 4, 1)).toEqual({ text: '2 of 4 called, 1 stands by', tone: 'badge warn' }))
  test('all, and some though they are not ready', () => expect(shown(3, 2, 3)).toEqual({ text: '3 of 3 called, 2 of them kept', tone: 'badge warn' }))
})

describe('how it is called', () => {
  function said(props: Parameters<typeof CalledBy>[0]): string {
    const root = document.createElement('div')
    render(<CalledBy {...props} />, root)
    return root.textContent ?? ''
  }
  const policy = 'DiscoveryPolicy shop/moving'
  test('by the default', () => expect(said({ mode: 'pod' }).trim()).toBe('pod addresses'))
  test('by a registry that a policy chooses, whatever asks for the mode', () =>
    expect(said({ mode: 'pod', choice: 'zookeeper', choiceFrom: policy })).toBe(`pod addresses beside ZooKeeper, by ZooKeeper first (asked for by ${policy})`))
  test('in a list', () => expect(said({ mode: 'service', modeFrom: policy, choice: 'both', choiceFrom: policy, brief: true })).toBe('its Servicebeside ZooKeeper, by either at random'))
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

describe('why a list may not be whole', () => {
  function said(props: Parameters<typeof Doubts>[0]): string[] {
    const root = document.createElement('div')
    render(<Doubts {...props} />, root)
    return [...root.children].map((c) => c.textContent ?? '')
  }
  const silent = 'cluster west: nothing is known yet of the applications'
  const list = { unknown: silent, clusters: [{ name: 'east' }, { name: 'west', unknown: silent }] }
  test('nothing is wrong', () => expect(said({ list: { clusters: [{ name: 'east' }] } })).toEqual([]))
  test('a cluster that was never heard is told of once', () =>
    expect(said({ list })).toEqual([expect.stringContaining('Nothing is known of cluster west, so its instances are missing here')]))
  test('and not where another is looked at', () => expect(said({ list: { clusters: list.clusters }, cluster: 'east' })).toEqual([]))
  test('what is wrong besides is told as well', () => expect(said({ list: { ...list, unknown: 'no answer within 2s' } })).toEqual([expect.stringContaining('cluster west'), 'The list is not whole: no answer within 2s']))
  test('a cluster that stopped to answer', () =>
    expect(said({ list: { stale: '2026-11-30T00:00:00Z', clusters: [{ name: 'east' }, { name: 'west', stale: '2026-11-30T00:00:00Z' }] } })).toEqual([expect.stringContaining('Cluster west has not answered since')]))
  test('the only cluster stopped to answer', () => expect(said({ list: { stale: '2026-11-30T00:00:00Z' } })).toEqual([expect.stringContaining('The registry has been out of touch since')]))
})

describe('where they are', () => {
  test('in the order of the clusters', () => {
    const root = document.createElement('div')
    render(
      <InClusters
        order={['west', 'east']}
        counts={[
          { cluster: 'east', instances: 2, callable: 0, standby: 2 },
          { cluster: 'west', instances: 1, callable: 1 },
        ]}
      />,
      root,
    )
    expect([...root.querySelectorAll('li')].map((l) => l.textContent)).toEqual(['west: 1 of 1', 'east: 0 of 2, 2 stand by'])
  })
})
