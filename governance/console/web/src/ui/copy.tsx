import { useState } from 'preact/hooks'
import { words as w } from '~/app/words'
import { Button } from '~/ui/basic'

/** Copy puts a text into the clipboard. */
export function Copy({ text, label }: { text: string; label?: string }) {
  const [done, setDone] = useState(false)
  return (
    <Button
      small
      kind="plain"
      icon={done ? 'ok' : 'copy'}
      label={done ? w('copied') : (label ?? w('copy'))}
      onClick={async () => {
        try {
          await navigator.clipboard.writeText(text)
          setDone(true)
          setTimeout(() => setDone(false), 2000)
        } catch {
          /* not allowed, or no secure origin: the text can still be selected */
        }
      }}
    />
  )
}
