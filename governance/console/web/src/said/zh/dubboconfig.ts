// What is said of Dubbo Java applications that read their overrides here.
import type { Sentences } from '~/said/translate'

export const dubboconfig: Sentences = {
  'Dubbo Java clients': 'Dubbo Java 客户端',
  'breaker: Dubbo Java has no circuit breaker that counts; it can be forced open': 'breaker：Dubbo Java 没有按统计熔断的熔断器；只能强制打开',
  'bulkhead: Dubbo Java bounds calls under way by settings that it reads at the start': 'bulkhead：Dubbo Java 按启动时读取的设置限制并发调用数',
  'fallback.cached: Dubbo Java keeps no answers': 'fallback.cached：Dubbo Java 不保存应答',
  "fallback.error: calls fail with Dubbo's own text in place of this one": 'fallback.error：调用以 Dubbo 自己的错误文本失败，而不是这里给出的文本',
  'fallback.value: Dubbo Java takes no text with a backquote in it': 'fallback.value：Dubbo Java 不接受含有反引号的文本',
  'target.at: Dubbo Java is governed where it calls: publish the policy with at: caller': 'target.at：Dubbo Java 在调用方治理：请以 at: caller 发布该策略',
  'target.command: %s is no method of a Dubbo interface, such as InventoryService.reserve': 'target.command：{1} 不是 Dubbo 接口的方法，例如 InventoryService.reserve',
}
