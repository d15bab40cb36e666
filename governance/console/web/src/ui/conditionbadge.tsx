import { dictionary } from '~/i18n'
import { Badge } from '~/ui/basic'
import { conditionLook, type Condition } from '~/ui/condition'

/** What conditions are called. */
export const conditionWord = dictionary<Condition>({
  en: {
    open: 'Circuit open', failing: 'Failing', refusing: 'Refuses policy', errors: 'Errors', halfOpen: 'Half-open', slow: 'Slow',
    behind: 'Policy behind', forced: 'Held open', ok: 'Fine', idle: 'Idle', unseen: 'Only called', gone: 'No instances',
  },
  zh: {
    open: '熔断打开', failing: '故障', refusing: '拒绝策略', errors: '有错误', halfOpen: '半开', slow: '缓慢',
    behind: '策略未生效', forced: '强制打开', ok: '正常', idle: '空闲', unseen: '仅被调用', gone: '无实例',
  },
})

/** ConditionBadge says how an application or its calls are. */
export function ConditionBadge({ condition, title }: { condition: Condition; title?: string }) {
  const { tone, icon } = conditionLook[condition]
  return (
    <Badge tone={tone} icon={icon} title={title}>
      {conditionWord(condition)}
    </Badge>
  )
}
