// Why a route won or lost. The server says it in English; its sentences are few,
// and have words in each language here. One that is new is shown as it came.
import { dictionary } from '~/i18n'

const t = dictionary({
  en: {
    only: 'it is the only route that takes the request',
    goesBefore: 'it goes before {other}: {why}',
    lostTo: '{other} goes before it: {why}',
    priority: 'its priority is {a}, the other’s {b}',
    host: 'its host {a} is more specific than {b}',
    path: 'its path {a} is more specific than {b}',
    methods: 'it names its methods',
    headers: 'it has {a} conditions on headers, the other {b}',
    name: 'nothing else tells them apart, and its name comes first',
    disabled: 'it is disabled',
    hostNot: 'its host is {a}, not {b}',
    pathNot: 'its path {a} does not take the request’s',
    methodNot: 'its method is {a}, not {b}',
    needs: 'it needs {a}',
    broken: 'it cannot be served: {a}',
    any: '(any)',
  },
  zh: {
    only: '只有它接受此请求',
    goesBefore: '优先于 {other}：{why}',
    lostTo: '{other} 优先于它：{why}',
    priority: '优先级为 {a}，对方为 {b}',
    host: '域名 {a} 比 {b} 更具体',
    path: '路径 {a} 比 {b} 更具体',
    methods: '它指定了方法',
    headers: '它有 {a} 个请求头条件，对方有 {b} 个',
    name: '其他方面没有区别，名称排序在前',
    disabled: '已停用',
    hostNot: '域名是 {a}，而不是 {b}',
    pathNot: '路径 {a} 不匹配请求的路径',
    methodNot: '方法是 {a}，而不是 {b}',
    needs: '需要 {a}',
    broken: '无法提供服务：{a}',
    any: '（任意）',
  },
})

type Word = Parameters<typeof t>[0]

const sentences: [RegExp, Word][] = [
  [/^it is the only route that takes the request$/, 'only'],
  [/^its priority is (-?\d+), the other's (-?\d+)$/, 'priority'],
  [/^its host (\S+) is more specific than (\S+)$/, 'host'],
  [/^its path (\S+) is more specific than (\S+)$/, 'path'],
  [/^it names its methods$/, 'methods'],
  [/^it has (\d+) conditions on headers, the other (\d+)$/, 'headers'],
  [/^nothing else tells them apart, and its name comes first$/, 'name'],
  [/^it is disabled$/, 'disabled'],
  [/^its host is (.+), not (".*")$/, 'hostNot'],
  [/^its path (.*) does not take the request's$/, 'pathNot'],
  [/^its method is (.+), not (\S+)$/, 'methodNot'],
  [/^it needs (.+)$/, 'needs'],
  [/^it cannot be served: (.+)$/, 'broken'],
]

/** whyWords says in the reader's language what the server said. */
export function whyWords(why: string): string {
  const won = /^it goes before (\S+): (.+)$/.exec(why)
  if (won) return t('goesBefore', { other: won[1]!, why: whyWords(won[2]!) })
  const lost = /^(\S+) goes before it: (.+)$/.exec(why)
  if (lost) return t('lostTo', { other: lost[1]!, why: whyWords(lost[2]!) })
  for (const [pattern, word] of sentences) {
    const m = pattern.exec(why)
    if (m) return t(word, { a: any(m[1]), b: any(m[2]) })
  }
  const parts = why.split('; ')
  return parts.length > 1 ? parts.map(whyWords).join('; ') : why
}

function any(s: string | undefined): string {
  return s === '(any)' ? t('any') : (s ?? '')
}
