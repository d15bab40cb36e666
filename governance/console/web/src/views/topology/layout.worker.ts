import { arrange } from './layout'
import type { LayoutInput } from './places'

const scope = self as unknown as { onmessage: (e: MessageEvent<{ key: string; input: LayoutInput }>) => void; postMessage: (m: unknown) => void }

scope.onmessage = (e) => scope.postMessage({ key: e.data.key, layout: arrange(e.data.input) })
