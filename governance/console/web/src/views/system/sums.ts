// Sums of what the system view is told.
import type { Schemas } from '~/api/client'

type Partition = Schemas['GovernanceConsoleSystemPartition']

export interface TableSum {
  name: string
  parts: Partition[]
  rows: number
  bytes: number
  from?: string
  to?: string
}

/** byTable joins the partitions of each table, the largest table first. */
export function byTable(partitions: readonly Partition[]): TableSum[] {
  const tables = new Map<string, TableSum>()
  for (const p of partitions) {
    const name = `${p.schema}.${p.table}`
    const t = tables.get(name) ?? { name, parts: [], rows: 0, bytes: 0 }
    t.parts.push(p)
    t.rows += Math.max(0, p.rows) // PostgreSQL says -1 of what it has not looked at yet
    t.bytes += p.bytes
    if (p.from && (!t.from || p.from < t.from)) t.from = p.from
    // Partitions are made ahead: the newest with anything in it says how new the data is.
    if (p.to && p.rows > 0 && (!t.to || p.to > t.to)) t.to = p.to
    tables.set(name, t)
  }
  return [...tables.values()].sort((a, b) => b.bytes - a.bytes || a.name.localeCompare(b.name))
}

/** versionsOf counts nodes by version; more than one is a skew. */
export function versionsOf(nodes: readonly { version: string }[]): [version: string, nodes: number][] {
  const n = new Map<string, number>()
  for (const { version } of nodes) n.set(version, (n.get(version) ?? 0) + 1)
  return [...n.entries()].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]))
}

/** fullness is how much of a queue is used, 0 to 1; undefined where nothing bounds it. */
export function fullness(q: { depth: number; limit?: number }): number | undefined {
  return q.limit ? Math.min(1, q.depth / q.limit) : undefined
}
