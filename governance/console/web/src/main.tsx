import '~/styles/tokens.css'
import '~/styles/base.css'
import '~/ui/ui.css'
import '~/ui/over.css'
import { render } from 'preact'
import { App } from '~/app/app'
import { whoAmI } from '~/app/session'
import { startLive } from '~/live/stream'

void whoAmI()
startLive()
render(<App />, document.getElementById('app')!)
