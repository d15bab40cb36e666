// Who is logged in.
import { signal } from '@preact/signals'
import { answer, api, onUnauthorized, Problem, type Schemas } from '~/api/client'
import { queries } from '~/api/query'

export type Me = Schemas['AccessApiMe']

/** The one who is logged in; null for nobody, undefined while that is not known. */
export const me = signal<Me | null | undefined>(undefined)
/** Why it could not be found out. */
export const meProblem = signal<Problem | undefined>(undefined)

/** Whether the one who was logged in is not any more, without having logged out here. */
export const ended = signal(false)

onUnauthorized.call = () => {
  if (me.value !== null) {
    ended.value = me.value !== undefined
    me.value = null
    queries.clear()
  }
}

/** whoAmI asks the server. */
export async function whoAmI(): Promise<void> {
  try {
    me.value = await answer(api.GET('/api/v1/me'))
    meProblem.value = undefined
  } catch (err) {
    if (err instanceof Problem && err.status === 401) return
    meProblem.value = err instanceof Problem ? err : new Problem(0, String(err))
  }
}

export async function login(user: string, password: string): Promise<void> {
  me.value = await answer(api.POST('/api/v1/login', { body: { user, password } }))
  ended.value = false
  meProblem.value = undefined
}

export async function logout(): Promise<void> {
  try {
    await answer(api.POST('/api/v1/logout'))
  } finally {
    ended.value = false
    me.value = null
    queries.clear()
  }
}

const order = ['viewer', 'operator', 'admin']

/** can reports whether the one logged in holds a role, in a namespace where one is named. The server decides; this only spares a dead button. */
export function can(role: 'viewer' | 'operator' | 'admin', namespace?: string): boolean {
  const m = me.value
  if (!m || order.indexOf(m.role) < order.indexOf(role)) return false
  const bounded = m.namespaces ?? []
  return bounded.length === 0 || (namespace !== undefined && bounded.includes(namespace))
}

/** canSomewhere reports whether there is a namespace in which the one logged in holds a role. */
export function canSomewhere(role: 'viewer' | 'operator' | 'admin'): boolean {
  return can(role) || (me.value?.namespaces ?? []).some((n) => can(role, n))
}

/** onSession.check finds out whether the session still lives. */
export const onSession = {
  check: () => {
    if (me.peek()) void whoAmI()
  },
}
