// A policy that is being written: as a form, and as a document. Whichever was
// changed last is what counts; the other one follows.
import { emptyForm, fromDocument, toDocument, type PolicyForm, type Trouble } from '~/policy/form'
import { keyOf, type Policy } from '~/policy/model'

export interface Draft {
  form: PolicyForm
  /** The document as it was typed; undefined while the form counts. */
  text?: string
  /** The version that it was begun on; undefined for one that is new. */
  base?: number
  /** An application of which nothing is known is meant. */
  allow: boolean
}

/** fresh is a draft of a new policy, as an address asks for it. */
export function fresh(get: (name: string) => string | undefined): Draft {
  const at = get('at') === 'caller' ? 'caller' : 'provider'
  const from = get('from')
  return { form: { ...emptyForm, app: get('app') ?? '', command: get('command') ?? '', at, from: at === 'caller' && from ? [from] : [] }, allow: false }
}

/** begun is a draft of another version of a policy. */
export function begun(p: Policy, version: number): Draft {
  return { form: fromDocument(p), base: version, allow: false }
}

export interface Meant {
  /** The document; undefined while it cannot be read. */
  doc?: Policy
  trouble: Record<string, Trouble>
}

/** meant is the document of a draft, by what its text reads as. */
export function meant(d: Draft, typed: Policy | undefined): Meant {
  if (d.text === undefined) return toDocument(d.form)
  return { doc: typed, trouble: {} }
}

/** edited takes a change of the form. */
export function edited(d: Draft, patch: Partial<PolicyForm>): Draft {
  const form = { ...d.form, ...patch }
  // A switch refuses: it has no other mode.
  if (patch.kind === 'switch') form.mode = 'forcedOpen'
  return { ...d, form, text: undefined }
}

/** typed takes a change of the text; the form follows what can be read. */
export function typed(d: Draft, text: string, doc: Policy | undefined): Draft {
  return { ...d, text, form: doc ? fromDocument(doc) : d.form }
}

/** worthAsking reports whether a document says enough for the server to be asked about it. */
export function worthAsking(doc: Policy | undefined): doc is Policy {
  const t = doc?.target
  return typeof t?.app === 'string' && /^[^/\s]+\/[^/\s]+$/.test(t.app)
}

export type Conflict = 'new' | 'changed'

/** conflictOf says whether what there is differs from what the draft was begun on. */
export function conflictOf(base: number | undefined, have: { version: number } | undefined): Conflict | undefined {
  if (have === undefined || have.version === base) return undefined
  return base === undefined ? 'new' : 'changed'
}

/** nameOf is "namespace/name" that a document will be written to, once the server said what it makes of it. */
export function nameOf(fixed: string | undefined, would: Policy | undefined): string | undefined {
  return fixed ?? (would ? keyOf(would) : undefined)
}
