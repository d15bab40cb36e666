// What the server says about a trace, in the other language. It speaks English;
// a sentence that is not known here is shown as it came.
import { lang } from '~/i18n'

const duration = '([\\d.]+ (?:µs|ms|s|min|h))'

const sentences: [RegExp, (m: string[]) => string][] = [
  [/^the span that began this trace was not sent, or is still on its way$/, () => '调用链的起始 Span 未上报，或尚在途中。'],
  [/^(\d+) spans were not sent, or are still on their way: the one that began this trace is among them$/, ([, n]) => `有 ${n} 个 Span 未上报或尚在途中，其中包括起始 Span。`],
  [/^a span was not sent, or is still on its way: what it called hangs below the first span$/, () => '有 1 个 Span 未上报或尚在途中，它的下级暂挂在起始 Span 之下。'],
  [/^(\d+) spans were not sent, or are still on their way: what they called hangs below the first span$/, ([, n]) => `有 ${n} 个 Span 未上报或尚在途中，它们的下级暂挂在起始 Span 之下。`],
  [/^(\d+) spans say that they began this trace$/, ([, n]) => `有 ${n} 个 Span 自称是起始 Span。`],
  [/^(\d+) spans are each other's ancestors: the earliest was cut off its parent$/, ([, n]) => `有 ${n} 个 Span 互为上级，已将最早的一个与其上级断开。`],
  [/^a span has the id of another$/, () => '有 1 个 Span 的 ID 与其他 Span 重复。'],
  [/^(\d+) spans have the id of another$/, ([, n]) => `有 ${n} 个 Span 的 ID 与其他 Span 重复。`],
  [/^no span has a time$/, () => '所有 Span 都没有时间。'],
  [/^a span has no time: where it stands is a guess$/, () => '有 1 个 Span 没有时间，其位置是推测的。'],
  [/^(\d+) spans have no time: where they stand is a guess$/, ([, n]) => `有 ${n} 个 Span 没有时间，其位置是推测的。`],
  [new RegExp(`^clocks differ: a span of (.*) was moved by ${duration}$`), ([, who, by]) => `时钟有偏差：${names(who!)} 的 1 个 Span 已修正 ${by}。`],
  [new RegExp(`^clocks differ: (\\d+) spans of (.*) were moved by up to ${duration}$`), ([, n, who, by]) => `时钟有偏差：${names(who!)} 的 ${n} 个 Span 已修正，最多 ${by}。`],
  [new RegExp(`^a span begins ${duration} before the one that called it: clocks may differ$`), ([, by]) => `有 1 个 Span 比调用它的 Span 早 ${by} 开始，时钟可能有偏差。`],
  [new RegExp(`^(\\d+) spans begin before those that called them, by up to ${duration}: clocks may differ$`), ([, n, by]) => `有 ${n} 个 Span 早于调用它们的 Span 开始，最多早 ${by}，时钟可能有偏差。`],
  [/^(\d+) of the spans are of no namespace that you see: their names, tags and events are left out$/, ([, n]) => `有 ${n} 个 Span 所属的命名空间不在你的权限内，其名称、标签和事件已隐去。`],
  [/^(\d+) tags and events are too long to be shown whole: the download has them$/, ([, n]) => `有 ${n} 个标签或事件过长，未能完整显示，完整内容请下载。`],
  [/^not all spans could be read: there are too many, or some of what is stored is damaged$/, () => '未能读取全部 Span：数量过多，或部分存储已损坏。'],
]

function names(list: string): string {
  return list.replace(/(\d+) other services?/, '另外 $1 个服务').replace(/, | and /g, '、')
}

/** told writes a warning in the language of the page. */
export function told(warning: string): string {
  if (lang.value === 'zh') {
    for (const [pattern, say] of sentences) {
      const m = pattern.exec(warning)
      if (m) return say(m)
    }
    return warning
  }
  return `${warning.charAt(0).toUpperCase()}${warning.slice(1)}.`
}
