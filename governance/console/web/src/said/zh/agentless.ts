// What is said of pods that are governed without code of Weir's in them.
import type { Sentences } from '~/said/translate'

export const agentless: Sentences = {
  '# Written by Weir, which writes it again: what policies come to (docs/java/config.md).': '# 由 Weir 写入，并会再次写入：策略的结果（docs/java/config.md）。',
  '%d %% of %d calls failed in %s, %d %% allowed': '{3} 内 {2} 次调用中 {1} % 失败，允许 {4} %',
  '%g %% of %d calls failed, %g %% allowed': '{2} 次调用中 {1} % 失败，允许 {3} %',
  '%g %% of %d calls were slow, %g %% allowed': '{2} 次调用中 {1} % 为慢调用，允许 {3} %',
  '%s %s answers %d': '{1} {2} 返回 {3}',
  '%s %s answers more than %d MiB': '{1} {2} 返回超过 {3} MiB',
  "%s %s answers something that is no actuator's": '{1} {2} 返回的不是 actuator 的内容',
  '%s %s asks for credentials (%d), which Weir has none of: let the management port be reached without, and by the control plane alone':
    '{1} {2} 要求凭据（{3}），而 Weir 没有：请让管理端口无需凭据即可访问，且仅限控制面访问',
  '%s are all somebody else\'s: put two of them together': '{1} 均属他人：请将其中两个合并',
  '%s cannot be written: set management.endpoint.circuitbreakers.access=unrestricted; until then no policy is applied':
    '{1} 不可写：请设置 management.endpoint.circuitbreakers.access=unrestricted；在此之前不会应用任何策略',
  '%s did not answer within %s': '{1} 在 {2} 内没有应答',
  '%s ended: %w': '{1} 已结束：{2}',
  '%s has as many readers as it may (hystrix.config.stream.maxConcurrentConnections, 5): end another, such as a dashboard or Turbine':
    '{1} 的读取者已达上限（hystrix.config.stream.maxConcurrentConnections，5）：请结束其他读取者，例如 Dashboard 或 Turbine',
  '%s has been silent for %s': '{1} 已有 {2} 没有数据',
  '%s has no circuitbreakers: add circuitbreakers to management.endpoints.web.exposure.include; until then no policy is applied':
    '{1} 没有 circuitbreakers：请在 management.endpoints.web.exposure.include 中加入 circuitbreakers；在此之前不会应用任何策略',
  '%s has no env: add env to management.endpoints.web.exposure.include; until then no policy is applied':
    '{1} 没有 env：请在 management.endpoints.web.exposure.include 中加入 env；在此之前不会应用任何策略',
  '%s has no histogram of calls: set management.metrics.distribution.percentiles-histogram.resilience4j.circuitbreaker.calls=true; until then it is not known how long calls last':
    '{1} 没有调用的直方图：请设置 management.metrics.distribution.percentiles-histogram.resilience4j.circuitbreaker.calls=true；在此之前不知道调用的耗时',
  '%s has no hystrix.stream: add hystrix.stream to management.endpoints.web.exposure.include, and have Hystrix on (@EnableHystrix), or, where Resilience4j guards its calls, circuitbreakers and prometheus; until then nothing is collected':
    '{1} 没有 hystrix.stream：请在 management.endpoints.web.exposure.include 中加入 hystrix.stream，并启用 Hystrix（@EnableHystrix）；若其调用由 Resilience4j 保护，则加入 circuitbreakers 和 prometheus；在此之前不会采集任何数据',
  '%s has no prometheus: add prometheus to management.endpoints.web.exposure.include, and io.micrometer:micrometer-registry-prometheus to the dependencies; until then calls are not counted':
    '{1} 没有 prometheus：请在 management.endpoints.web.exposure.include 中加入 prometheus，并在依赖中加入 io.micrometer:micrometer-registry-prometheus；在此之前不会统计调用',
  '%s is %s in it, and should be %s': '其中 {1} 为 {2}，应为 {3}',
  '%s says nothing of circuit breakers: add io.github.resilience4j:resilience4j-micrometer to the dependencies; until then calls are not counted':
    '{1} 没有熔断器的内容：请在依赖中加入 io.github.resilience4j:resilience4j-micrometer；在此之前不会统计调用',
  '%s%s. The rest of the policy holds': '{1}{2}。该策略的其余部分已生效',
  '%s/env cannot be written: set management.endpoint.env.post.enabled=true; until then no policy is applied':
    '{1}/env 不可写：请设置 management.endpoint.env.post.enabled=true；在此之前不会应用任何策略',
  '%s: Resilience4j reads it when its process begins; %s=%s is in ConfigMap %s, and holds in a process that begins from now on':
    '{1}：Resilience4j 只在进程启动时读取；{2}={3} 已在 ConfigMap {4} 中，对此后启动的进程生效',
  '%s: %s=%s is in ConfigMap %s, but %s has %s too, and comes first: take it out of there':
    '{1}：{2}={3} 已在 ConfigMap {4} 中，但 {5} 也有 {6}，且优先级更高：请将其从那里移除',
  "%s: Resilience4j reads it when its process begins, from %s=%s in the application's configuration":
    '{1}：Resilience4j 只在进程启动时读取，取自应用配置中的 {2}={3}',
  'ConfigMap %s cannot be written: %s; until then what is wanted holds in a new process only once it is written into it':
    '无法写入 ConfigMap {1}：{2}；在此之前，应有的设置要等写入新进程后才对其生效',
  'a port of the Service': 'Service 的端口',
  'a port of the pod': 'Pod 的端口',
  'a probe succeeded': '一次试探调用成功',
  'annotation boot.spring.io/actuator': '注解 boot.spring.io/actuator',
  'annotation prometheus.io/port': '注解 prometheus.io/port',
  'another pod has taken its name': '已有另一个 Pod 使用其名称',
  'answers %d': '返回 {1}',
  'breaker.errorPercent: Hystrix knows whole percents, so it opens at %s': 'breaker.errorPercent：Hystrix 只支持整数百分比，因此在 {1} 时熔断',
  'breaker.mode: it has no circuit breaker %s yet: unless %s is in its configuration, Resilience4j makes one with the first call, and calls are let through until it is seen and held, a second or two later':
    'breaker.mode：它还没有熔断器 {1}：除非其配置中有 {2}，否则 Resilience4j 在首次调用时才创建，而在随后一两秒内发现并保持它之前，调用都会被放行',
  'breaker.mode: the actuator of Resilience4j can hold no circuit closed, so it is disabled, which lets every call through and counts none':
    'breaker.mode：Resilience4j 的 actuator 无法强制关闭熔断器，因此将其禁用：所有调用都放行，且不计数',
  'breaker.probes: Hystrix closes a circuit after one probe': 'breaker.probes：Hystrix 在一次试探成功后即关闭熔断器',
  'breaker.slowCall: Hystrix opens no circuit for slow calls; a timeout counts as a failure': 'breaker.slowCall：Hystrix 不因慢调用而熔断；超时计为失败',
  'breaker.window: Hystrix reads it once, when a command first runs; it is %s': 'breaker.window：Hystrix 只在命令首次运行时读取一次；当前为 {1}',
  'bulkhead: command %s runs in thread pool %s together with %d others, such as %s, and Hystrix bounds the pool as a whole':
    'bulkhead：命令 {1} 与另外 {3} 个命令（例如 {4}）共用线程池 {2}，而 Hystrix 只能限制整个线程池',
  'circuit breaker %s is %s in it': '其中熔断器 {1} 为 {2}',
  'circuit breaker %s is %s, and no policy says so: it is left as it is. A switch of it that is pulled and released closes it':
    '熔断器 {1} 为 {2}，但没有策略如此规定：保持原样。对它拉下再释放一个开关即可使其关闭',
  "fallback: Hystrix runs the one in the application's code, or none": 'fallback：Hystrix 执行应用代码中的降级逻辑，或不执行',
  "fallback: Resilience4j runs the one in the application's code, or none": 'fallback：Resilience4j 执行应用代码中的降级逻辑，或不执行',
  'it does not read its settings again: %s': '它没有重新读取设置：{1}',
  'it has been open for as long as it may, and lets probes through': '打开时间已到，放行试探调用',
  'it has more than %d commands, and those beyond are not collected': '它有超过 {1} 个命令，超出部分不会被采集',
  'it has no port that is known: name its management port "management", or say where it is with the Service\'s annotation boot.spring.io/actuator; for Dubbo: %s':
    '它没有已知的端口：请将其管理端口命名为 "management"，或用 Service 的注解 boot.spring.io/actuator 说明其位置；对于 Dubbo：{1}',
  'it has no refresh: add refresh to management.endpoints.web.exposure.include; until then what is taken out of its ConfigMap goes on holding until it restarts':
    '没有 refresh：请在 management.endpoints.web.exposure.include 中加入 refresh；在此之前，从其 ConfigMap 中移除的内容在重启前仍然有效',
  'it is not heard: %s': '无法采集：{1}',
  'its Service does not ask to be governed any more': '其 Service 已不再要求治理',
  'its application or its actuator was told to': '其应用或 actuator 收到了指令',
  'its probes succeeded': '试探调用成功',
  'its only document is %s, which would not be read any more beside another one: name it %s':
    '其唯一的文档是 {1}，与其他文档并存时将不再被读取：请将其命名为 {2}',
  'its process began anew': '其进程已重新启动',
  'its settings say so': '其设置如此规定',
  'more pods ask to be governed than this control plane may hold: raise --agentless-pods, or add a control plane':
    '要求治理的 Pod 超过此控制面的上限：请调高 --agentless-pods，或增加控制面',
  "no QoS of Dubbo's answers at %s: leave dubbo.application.qos-enable on, and where its port is another one, name that \"qos\" in the pod":
    '{1} 没有 Dubbo 的 QoS 应答：请保持 dubbo.application.qos-enable 开启；若其端口不同，请在 Pod 中将该端口命名为 "qos"',
  "no actuator answers at %s any more: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator":
    '{1} 不再有 actuator 应答：请在那里暴露它，或用 Service 的注解 boot.spring.io/actuator 说明其位置',
  "no actuator answers at %s: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator; Dubbo's QoS is not asked while one may be there that is slow or fails: take ports that never answer out of the Service and the pod":
    '{1} 没有 actuator 应答：请在那里暴露它，或用 Service 的注解 boot.spring.io/actuator 说明其位置；只要那里可能有一个缓慢或出错的 actuator，就不会询问 Dubbo 的 QoS：请从 Service 和 Pod 中去掉从不应答的端口',
  "no actuator answers at %s: expose it there, or say where it is with the Service's annotation boot.spring.io/actuator; for Dubbo: %s":
    '{1} 没有 actuator 应答：请在那里暴露它，或用 Service 的注解 boot.spring.io/actuator 说明其位置；对于 Dubbo：{2}',
  '%s does not tell any more of all that it has counted, as of %s: until it does, calls of that kind are not counted':
    '{1} 不再给出其已计数的全部内容，例如 {2}：在其恢复之前，这类调用不会被计数',
  'no answer': '没有应答',
  'no answer in time': '未及时应答',
  'nobody listens': '无人监听',
  'none of its containers runs': '没有容器在运行',
  'nothing holds it any more': '不再有任何规定约束它',
  "pods without code of Weir's": '未集成 Weir 代码的 Pod',
  'policy %s says so': '策略 {1} 如此规定',
  'port %s': '端口 {1}',
  'say that this process collects': '登记此进程正在采集',
  'say that this process collects no more': '登记此进程不再采集',
  'somebody changed its settings: %s; it is being written again': '有人更改了它的设置：{1}；正在重新写入',
  'the applications to govern': '要治理的应用',
  'there is no stream': '没有数据流',
  '1 instance of %s is not written into ZooKeeper, since it is not known what it offers: %s': '{1} 的 1 个实例没有写入 ZooKeeper，因为不知道它提供什么：{2}',
  '%d instances of %s are not written into ZooKeeper, since it is not known what they offer: %s': '{2} 的 {1} 个实例没有写入 ZooKeeper，因为不知道它们提供什么：{3}',
  'cannot write applications into ZooKeeper; what is there stays, and it goes on trying: %s': '无法将应用写入 ZooKeeper；已有的保留不变，并会继续重试：{1}',
  'providers of %s are not written into ZooKeeper; what is there stays, and it goes on trying: %s': '{1} 的提供者没有写入 ZooKeeper；已有的保留不变，并会继续重试：{2}',
  'this control plane holds as many pods as it may: raise --agentless-pods, or add a control plane': '此控制面的 Pod 数已达上限：请调高 --agentless-pods，或增加控制面',
  'what is wanted is not applied: %s': '应有的设置尚未应用：{1}',
  "Dubbo's own": 'Dubbo 默认端口',
  'port qos': '端口 qos',
  '%s counts calls by interface, not by method: take dubbo.metrics.rpc-level=SERVICE out; until then calls are not counted':
    '{1} 按接口而非按方法统计调用：请去掉 dubbo.metrics.rpc-level=SERVICE；在此之前不会统计调用',
  '%s has counted no call since the process began: if there were any, set dubbo.metrics.enable-rpc=true, without which Dubbo 3.3 counts none':
    '{1} 自进程启动以来没有统计到任何调用：若确有调用，请设置 dubbo.metrics.enable-rpc=true，否则 Dubbo 3.3 不会统计',
  '%s has no histogram of calls: take dubbo.metrics.histogram.enabled=false out, and with Dubbo 3.2 add com.tdunning:t-digest to the dependencies; until then it is not known how long calls last':
    '{1} 没有调用的直方图：请去掉 dubbo.metrics.histogram.enabled=false，使用 Dubbo 3.2 时请在依赖中加入 com.tdunning:t-digest；在此之前不知道调用的耗时',
  '%s is not for others than the pod itself: set dubbo.application.qos-anonymous-allow-commands=metrics, which opens this alone of QoS; until then calls are not counted':
    '{1} 只允许 Pod 自身访问：请设置 dubbo.application.qos-anonymous-allow-commands=metrics，它只开放 QoS 的这一项；在此之前不会统计调用',
  '%s is not there: %s': '{1} 不存在：{2}',
  '%s lets nobody in but the pod itself: take dubbo.application.qos-anonymous-access-permission-level=NONE out, and set dubbo.application.qos-anonymous-allow-commands=metrics, which opens this alone of QoS; until then calls are not counted':
    '{1} 只允许 Pod 自身访问：请去掉 dubbo.application.qos-anonymous-access-permission-level=NONE，并设置 dubbo.application.qos-anonymous-allow-commands=metrics，它只开放 QoS 的这一项；在此之前不会统计调用',
  '%s says %q: %s': '{1} 返回 {2}：{3}',
  '%s says nothing of Dubbo: %s': '{1} 没有 Dubbo 的内容：{2}',
  'add io.micrometer:micrometer-registry-prometheus-simpleclient and io.prometheus:simpleclient_pushgateway to the dependencies, and set dubbo.metrics.enable-rpc=true and no other dubbo.metrics.protocol than prometheus; until then calls are not counted':
    '请在依赖中加入 io.micrometer:micrometer-registry-prometheus-simpleclient 和 io.prometheus:simpleclient_pushgateway，设置 dubbo.metrics.enable-rpc=true，且 dubbo.metrics.protocol 不得为 prometheus 以外的值；在此之前不会统计调用',
  'breaker.mode: it waits for its first call: it has no circuit breaker yet, Resilience4j makes one with the first call through it, and calls are let through until it is seen and held, a second or two later':
    'breaker.mode：等待首次调用：它还没有熔断器，Resilience4j 在首次调用时才创建，而在随后一两秒内发现并保持它之前，调用都会被放行',
}
