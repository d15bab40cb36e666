// What the layout of a graph is given and what it gives. How it is found is in
// layout.ts, which is large, and loaded only where it is found.
export interface Point {
  x: number
  y: number
}

export interface LayoutInput {
  nodes: string[]
  edges: { id: string; from: string; to: string }[]
}

export interface Layout {
  width: number
  height: number
  /** Middles. */
  nodes: Record<string, Point>
  edges: Record<string, { points: Point[]; label: Point }>
  /** Nearly everything calls nearly everything: only what matters most has a label. */
  dense?: boolean
}

/** Size of a node. */
export const nodeSize = { width: 176, height: 58 }
