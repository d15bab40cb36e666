// The common parts of a route as a form. It shows the document and edits it;
// what it has no field for stays as it is.
import { health } from '~/live/store'
import { Button, Card } from '~/ui/basic'
import { Field } from '~/ui/field'
import { filtersFor, kindOf, listOf, pathVars, type Filter, type FilterKind, type HeaderMatch, type Route } from '~/views/routes/route'
import { filterWords, kindWord } from '~/views/routes/say'
import { asKind, filterFields, isKind, moved, newFilter, upstreamKind, upstreamKinds } from '~/views/routes/form'
import { fieldWord, t } from '~/views/routes/editwords'
import { TypedField } from '~/views/routes/formfield'
import { DubboForm } from '~/views/routes/dubboform'
import type { Path } from '~/views/routes/yaml'

export interface FormProps {
  value: Partial<Route>
  edit: (path: Path, value: unknown) => void
  /** What is wrong with a field. */
  fault: (field: string) => string | undefined
}

const usualMethods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']

/** RouteForm edits a document, field by field. named is false for a route that exists, whose name stays. */
export function RouteForm({ named, ...props }: FormProps & { named: boolean }) {
  const { value, edit, fault } = props
  const match = value.match ?? {}
  const methods = listOf(match.method)
  return (
    <div class="stack">
      <datalist id="route-apps">
        {[...health.value.keys()].map((a) => (
          <option key={a} value={a} />
        ))}
      </datalist>
      {named && (
        <div class="rt-fields">
          <TypedField label={fieldWord('namespace')} type="text" value={value.namespace} set={(v) => edit(['namespace'], v ?? '')} error={fault('namespace')} example="shop" />
          <TypedField label={fieldWord('name')} type="text" value={value.name} set={(v) => edit(['name'], v ?? '')} error={fault('name')} example="cart" />
        </div>
      )}
      <Card title={t('formMatch')} level={3}>
        <div class="stack tight">
          <TypedField label={fieldWord('path')} type="text" value={match.path} set={(v) => edit(['match', 'path'], v)} error={fault('match.path')} example="/shop/cart/{id}" hint={t('pathHint')} />
          <TypedField label={fieldWord('host')} type="list" value={match.host} set={(v) => edit(['match', 'host'], v)} error={fault('match.host')} example="shop.example.com, *.shop.example.com" hint={t('hostHint')} />
          <fieldset class="rt-set">
            <legend>{fieldWord('method')}</legend>
            <div class="row tight">
              {[...usualMethods, ...methods.filter((m) => !usualMethods.includes(m))].map((m) => (
                <label key={m} class="check">
                  <input
                    type="checkbox"
                    checked={methods.includes(m)}
                    onChange={(e) => {
                      const next = e.currentTarget.checked ? [...methods, m] : methods.filter((x) => x !== m)
                      edit(['match', 'method'], next.length > 0 ? next : undefined)
                    }}
                  />
                  {m}
                </label>
              ))}
            </div>
            <span class="muted">{fault('match.method') ?? t('methodHint')}</span>
          </fieldset>
          <Headers {...props} list={match.header ?? []} />
          <div class="rt-fields">
            <TypedField label={fieldWord('priority')} type="number" value={value.priority} set={(v) => edit(['priority'], v)} error={fault('priority')} example="0" hint={t('priorityHint')} />
            <TypedField label={t('disabledLabel')} type="check" value={value.disabled} set={(v) => edit(['disabled'], v)} />
          </div>
        </div>
      </Card>
      <Upstream {...props} />
      <Filters {...props} />
    </div>
  )
}

const conditions = ['equals', 'regex', 'present', 'absent'] as const

function Headers({ list, edit, fault }: FormProps & { list: readonly HeaderMatch[] }) {
  const put = (next: HeaderMatch[]) => edit(['match', 'header'], next.length > 0 ? next : undefined)
  return (
    <fieldset class="rt-set">
      <legend>{fieldWord('header')}</legend>
      {list.map((h, i) => {
        const kind = conditions.find((c) => h[c] !== undefined) ?? 'present'
        const field = `match.header[${i}]`
        return (
          <div key={i} class="rt-fields rt-act">
            <TypedField label={fieldWord('headerName')} type="text" value={h.name} set={(v) => edit(['match', 'header', i, 'name'], v ?? '')} error={fault(`${field}.name`) ?? fault(field)} example="X-User" />
            <Field label={fieldWord('condition')}>
              {(f) => (
                <select
                  {...f}
                  class="select"
                  value={kind}
                  onChange={(e) => {
                    const c = e.currentTarget.value as (typeof conditions)[number]
                    edit(['match', 'header', i], { name: h.name, [c]: c === 'present' || c === 'absent' ? true : (h.equals ?? h.regex ?? '') })
                  }}
                >
                  {conditions.map((c) => (
                    <option key={c} value={c}>
                      {fieldWord(c)}
                    </option>
                  ))}
                </select>
              )}
            </Field>
            {(kind === 'equals' || kind === 'regex') && (
              <TypedField label={fieldWord('value')} type="text" value={h[kind]} set={(v) => edit(['match', 'header', i, kind], v ?? '')} error={fault(`${field}.${kind}`)} />
            )}
            <Button small kind="plain" icon="close" label={t('remove')} onClick={() => put(list.filter((_, k) => k !== i))} />
          </div>
        )
      })}
      <div>
        <Button small icon="plus" onClick={() => put([...list, { name: '', present: true }])}>
          {t('addHeader')}
        </Button>
      </div>
    </fieldset>
  )
}

function Upstream(props: FormProps) {
  const { value, edit, fault } = props
  const u = value.upstream ?? {}
  const kind = upstreamKind(u)
  return (
    <Card title={t('formUpstream')} level={3}>
      <div class="stack tight">
        <div class="rt-fields">
          <Field label={t('upstreamKind')} error={fault('upstream')}>
            {(f) => (
              <select
                {...f}
                class="select"
                value={kind}
                onChange={(e) => {
                  const next = upstreamKinds.find((k) => k === e.currentTarget.value)
                  if (next && next !== kind) edit(['upstream'], asKind(u, next))
                }}
              >
                {upstreamKinds.map((k) => (
                  <option key={k} value={k}>
                    {t(`kind_${k}`)}
                  </option>
                ))}
              </select>
            )}
          </Field>
          {kind === 'app' && (
            <>
              <TypedField label={fieldWord('app')} type="text" value={u.app} set={(v) => edit(['upstream', 'app'], v ?? '')} error={fault('upstream.app')} example="shop/storefront" list="route-apps" />
              <TypedField label={fieldWord('port')} type="text" value={u.port} set={(v) => edit(['upstream', 'port'], v)} error={fault('upstream.port')} example="http" />
            </>
          )}
          {kind === 'url' && <TypedField label={fieldWord('url')} type="text" value={u.url} set={(v) => edit(['upstream', 'url'], v ?? '')} error={fault('upstream.url')} example="https://api.example.com/base" />}
        </div>
        {kind === 'dubbo' && <DubboForm {...props} vars={pathVars(value.match?.path)} />}
        <div class="rt-fields">
          <Choice label={fieldWord('balance')} value={u.balance} options={['leastRequests', 'roundRobin', 'random']} set={(v) => edit(['upstream', 'balance'], v)} error={fault('upstream.balance')} />
          {kind !== 'dubbo' && <Choice label={fieldWord('protocol')} value={u.protocol} options={['http1', 'h2c', 'https']} set={(v) => edit(['upstream', 'protocol'], v)} error={fault('upstream.protocol')} />}
        </div>
      </div>
    </Card>
  )
}

function Choice({ label, value, options, set, error }: { label: string; value: string | undefined; options: string[]; set: (v: string | undefined) => void; error?: string }) {
  return (
    <Field label={label} error={error}>
      {(f) => (
        <select {...f} class="select" value={value ?? ''} onChange={(e) => set(e.currentTarget.value || undefined)}>
          <option value="">{t('defaultOf', { value: options[0] ?? '' })}</option>
          {options.map((o) => (
            <option key={o}>{o}</option>
          ))}
        </select>
      )}
    </Field>
  )
}

function Filters({ value, edit, fault }: FormProps) {
  const list = value.filters ?? []
  const put = (next: Filter[]) => edit(['filters'], next.length > 0 ? next : undefined)
  return (
    <Card title={t('formFilters')} level={3}>
      <div class="stack tight">
        <p class="muted">{t('filtersHint')}</p>
        <ol class="rt-steps">
          {list.map((f, i) => {
            const kind = kindOf(f)
            return (
              <li key={i}>
                <div class="row tight">
                  <strong>{kind ? kindWord(kind) : Object.keys(f ?? {}).join(', ')}</strong>
                  <span class="push" />
                  <Button small kind="plain" icon="up" label={t('moveUp')} disabled={i === 0} onClick={() => put(moved(list, i, i - 1))} />
                  <Button small kind="plain" icon="down" label={t('moveDown')} disabled={i === list.length - 1} onClick={() => put(moved(list, i, i + 1))} />
                  <Button small kind="plain" icon="close" label={t('remove')} onClick={() => put(list.filter((_, k) => k !== i))} />
                </div>
                {kind && <p class="muted">{filterWords(f)}</p>}
                {fault(`filters[${i}]`) && <p class="bad-text">{fault(`filters[${i}]`)}</p>}
                {kind && <FilterFields kind={kind} filter={f} at={i} edit={edit} fault={fault} />}
              </li>
            )
          })}
        </ol>
        <select
          class="select medium"
          aria-label={t('addFilter')}
          value=""
          onChange={(e) => {
            const kind = e.currentTarget.value
            if (isKind(kind)) edit(['filters', list.length], newFilter(kind))
            e.currentTarget.value = ''
          }}
        >
          <option value="">{t('addFilter')}</option>
          {filtersFor(value).map((k) => (
            <option key={k} value={k}>
              {kindWord(k)}
            </option>
          ))}
        </select>
      </div>
    </Card>
  )
}

function FilterFields({ kind, filter, at, edit, fault }: { kind: FilterKind; filter: Filter; at: number; edit: FormProps['edit']; fault: FormProps['fault'] }) {
  const whole: unknown = filter[kind]
  return (
    <div class="rt-fields">
      {filterFields[kind].map((s) => {
        const path: Path = s.name === '' ? ['filters', at, kind] : ['filters', at, kind, s.name]
        const value = s.name === '' ? whole : (whole as Record<string, unknown> | null)?.[s.name]
        const field = `filters[${at}].${kind}${s.name === '' ? '' : `.${s.name}`}`
        return (
          <TypedField
            key={s.name}
            label={s.name === '' ? kindWord(kind) : fieldWord(s.name)}
            type={s.type}
            value={value}
            set={(v) => edit(path, v === undefined && s.name === '' ? '' : v)}
            error={fault(field)}
            example={s.hint}
          />
        )
      })}
    </div>
  )
}
