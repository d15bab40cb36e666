// All sentences of the server in Chinese, loaded when somebody reads Chinese.
import * as format from '~/i18n/format'
import { translator, type Catalogue } from '~/said/translate'
import { access } from './access'
import { agentless } from './agentless'
import { dubboconfig } from './dubboconfig'
import { gateway } from './gateway'
import { governance } from './governance'
import { registry } from './registry'
import { request } from './request'
import { sdk } from './sdk'
import { system } from './system'
import { tracing } from './tracing'

export const catalogue: Catalogue = {
  sentences: { ...system, ...request, ...tracing, ...registry, ...access, ...gateway, ...sdk, ...dubboconfig, ...agentless, ...governance },
  nouns: {
    gateway: '{n} 个网关',
    instance: '{n} 个实例',
    key: '{n} 个键',
    'other service': '另外 {n} 个服务',
    span: '{n} 个 Span',
  },
  terms: {
    '(any)': '（任意）',
    policy: '策略',
    switch: '开关',
    provider: '提供方',
    caller: '调用方',
    callers: '调用方',
    string: '字符串',
    number: '数字',
    object: '对象',
    array: '数组',
    bool: '布尔值',
    delete: '删除',
    disable: '停用',
  },
  time: (instant) => format.time(instant),
}

export const chinese = translator(catalogue)
