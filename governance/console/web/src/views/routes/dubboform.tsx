import { Button } from '~/ui/basic'
import { Field } from '~/ui/field'
import { moved } from '~/views/routes/form'
import { fieldWord, t } from '~/views/routes/editwords'
import { TypedField } from '~/views/routes/formfield'
import type { FormProps } from '~/views/routes/formview'

const base = ['upstream', 'dubbo'] as const
const types = ['java.lang.String', 'int', 'long', 'boolean', 'double', 'java.math.BigDecimal', 'java.util.Date', 'java.util.List<java.lang.String>', 'java.util.Map<java.lang.String, java.lang.Object>']

/** DubboForm is the part of a route that calls a method of a Dubbo interface. vars are the variables of its path. */
export function DubboForm({ value, edit, fault, vars }: FormProps & { vars: string[] }) {
  const d = value.upstream?.dubbo
  if (!d) return null
  const args = d.args ?? []
  const at = (name: string) => fault(`upstream.dubbo.${name}`)
  const text = (name: 'app' | 'interface' | 'method' | 'group' | 'version', example: string, needed: boolean, list?: string) => (
    <TypedField label={fieldWord(name === 'method' ? 'dubboMethod' : name)} type="text" value={d[name]} set={(v) => edit([...base, name], v ?? (needed ? '' : undefined))} error={at(name)} example={example} list={list} />
  )
  const idl = d.message !== undefined
  return (
    <div class="stack tight">
      <datalist id="route-types">
        {types.map((x) => (
          <option key={x} value={x} />
        ))}
      </datalist>
      <datalist id="route-sources">
        {[...vars.map((v) => `path.${v}`), 'body', 'body.', 'query.', 'header.'].map((x) => (
          <option key={x} value={x} />
        ))}
      </datalist>
      <div class="rt-fields">
        {text('app', 'shop/inventory', true, 'route-apps')}
        {text('interface', 'org.example.shop.InventoryService', true)}
        {text('method', 'reserve', true)}
        {text('group', '', false)}
        {text('version', '1.0.0', false)}
        <Field label={t('argsKind')} hint={t(idl ? 'idlHint' : 'argsHint')} error={at('args') ?? at('message')}>
          {(f) => (
            <select
              {...f}
              class="select"
              value={idl ? 'message' : 'args'}
              onChange={(e) => {
                const { args: _, message: __, ...rest } = d
                edit([...base], e.currentTarget.value === 'message' ? { ...rest, message: { body: true } } : { ...rest, args: [] })
              }}
            >
              <option value="args">{t('kindArgs')}</option>
              <option value="message">{t('kindMessage')}</option>
            </select>
          )}
        </Field>
      </div>
      {idl ? (
        <div class="rt-fields">
          <TypedField label={t('messageBody')} type="check" value={d.message?.body} set={(v) => edit([...base, 'message', 'body'], v)} />
          <TypedField label={fieldWord('fields')} type="map" value={d.message?.fields} set={(v) => edit([...base, 'message', 'fields'], v)} error={at('message.fields')} example="sku: path.sku" />
        </div>
      ) : (
        <>
          <ol class="rt-steps">
            {args.map((a, i) => (
              <li key={i} class="rt-fields rt-act">
                <TypedField label={fieldWord('type')} type="text" value={a.type} set={(v) => edit([...base, 'args', i, 'type'], v ?? '')} error={at(`args[${i}].type`) ?? at(`args[${i}]`)} example="java.lang.String" list="route-types" />
                <TypedField label={fieldWord('fromSource')} type="text" value={a.from} set={(v) => edit([...base, 'args', i, 'from'], v ?? '')} error={at(`args[${i}].from`)} example={vars[0] ? `path.${vars[0]}` : 'body.count'} list="route-sources" />
                <TypedField label={fieldWord('default')} type="json" short value={a.default} set={(v) => edit([...base, 'args', i, 'default'], v)} error={at(`args[${i}].default`)} />
                <TypedField label={fieldWord('optional')} type="check" value={a.optional} set={(v) => edit([...base, 'args', i, 'optional'], v)} />
                <span class="row tight">
                  <Button small kind="plain" icon="up" label={t('moveUp')} disabled={i === 0} onClick={() => edit([...base, 'args'], moved(args, i, i - 1))} />
                  <Button small kind="plain" icon="down" label={t('moveDown')} disabled={i === args.length - 1} onClick={() => edit([...base, 'args'], moved(args, i, i + 1))} />
                  <Button small kind="plain" icon="close" label={t('remove')} onClick={() => edit([...base, 'args'], args.filter((_, k) => k !== i))} />
                </span>
              </li>
            ))}
          </ol>
          <div>
            <Button small icon="plus" onClick={() => edit([...base, 'args'], [...args, { type: 'java.lang.String', from: vars[args.length] ? `path.${vars[args.length]}` : 'body' }])}>
              {t('addArg')}
            </Button>
          </div>
        </>
      )}
      <div class="rt-fields">
        <TypedField label={fieldWord('attachments')} type="map" value={d.attachments} set={(v) => edit([...base, 'attachments'], v)} error={at('attachments')} example="tenant: header.X-Tenant" />
        <TypedField label={t('bigNumbers')} type="check" value={d.bigNumbersAsStrings} set={(v) => edit([...base, 'bigNumbersAsStrings'], v)} />
      </div>
    </div>
  )
}
