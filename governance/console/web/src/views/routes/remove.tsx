import { useQuery } from '@tanstack/preact-query'
import type { Problem } from '~/api/client'
import { ReasonDialog } from '~/ui/dialog'
import { ErrorBox } from '~/ui/state'
import { t } from '~/views/routes/onewords'
import { Plan } from '~/views/routes/plan'
import { keyText, type Version } from '~/views/routes/route'
import { deleteRoute, planRoute, type Result } from '~/views/routes/write'

/** RemoveDialog deletes a route, after it showed what that does. */
export function RemoveDialog({ version, onClose, onWritten }: { version: Version; onClose: () => void; onWritten: (r: Result) => void }) {
  const plan = useQuery<Result, Problem>({
    queryKey: ['/api/v1/routes:plan', 'delete', keyText(version.route), version.revision],
    staleTime: 0,
    retry: false,
    queryFn: ({ signal }) => planRoute(version.route, version.revision, signal, true),
  })
  return (
    <ReasonDialog
      title={t('removeTitle', { route: keyText(version.route) })}
      act={t('remove')}
      danger
      onClose={onClose}
      run={async (reason) => onWritten(await deleteRoute({ namespace: version.route.namespace, name: version.route.name }, version.revision, reason))}
    >
      <p>{t('removeText')}</p>
      {plan.data ? <Plan result={plan.data} /> : plan.error ? <ErrorBox error={plan.error} /> : <p class="muted">{t('rehearsing')}</p>}
    </ReasonDialog>
  )
}
