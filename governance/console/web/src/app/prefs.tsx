import { setTheme, theme, type Theme } from '~/app/theme'
import { words as w } from '~/app/words'
import { lang, setLang } from '~/i18n'
import { Menu } from '~/ui/menu'

export function LanguageMenu() {
  return (
    <Menu label={w('language')} icon="globe">
      {(close) =>
        (['en', 'zh'] as const).map((l) => (
          <button
            key={l}
            type="button"
            lang={l === 'zh' ? 'zh-CN' : 'en'}
            aria-current={lang.value === l ? 'true' : undefined}
            onClick={() => {
              setLang(l)
              close()
            }}
          >
            {l === 'en' ? 'English' : '中文'}
          </button>
        ))
      }
    </Menu>
  )
}

const themeWords = { light: 'themeLight', dark: 'themeDark', system: 'themeSystem' } as const

export function ThemeMenu() {
  return (
    <Menu label={w('theme')} icon={theme.value === 'dark' ? 'moon' : 'sun'}>
      {(close) =>
        (Object.keys(themeWords) as Theme[]).map((t) => (
          <button
            key={t}
            type="button"
            aria-current={theme.value === t ? 'true' : undefined}
            onClick={() => {
              setTheme(t)
              close()
            }}
          >
            {w(themeWords[t])}
          </button>
        ))
      }
    </Menu>
  )
}
