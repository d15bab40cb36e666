package pg

import (
	"net/url"
	"strings"
)

const (
	masked     = "xxxxx"
	unreadable = "(unreadable database URL)"
)

// MaskURL returns a connection string, URL or keyword form, fit for logs and
// screens: passwords are replaced by "xxxxx". Of a string that it cannot take
// apart it gives nothing away.
func MaskURL(s string) string {
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return maskKeywords(s)
	}
	u, err := url.Parse(s)
	// An @ further back, or a fragment, is rather a password whose special
	// characters were not encoded: drivers may read it so.
	if err != nil || strings.Contains(s, "#") || strings.Contains(u.Host+u.EscapedPath()+u.RawQuery, "@") {
		return unreadable
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), masked)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return unreadable
	}
	for k := range q {
		if secretKeyword(k) {
			q.Set(k, masked)
			u.RawQuery = q.Encode()
		}
	}
	return u.String()
}

func secretKeyword(k string) bool { return strings.Contains(strings.ToLower(k), "password") }

// maskKeywords masks "host=… password=…", where values may be quoted, blanks
// may stand around the equals sign and a backslash takes the next byte as it is.
func maskKeywords(s string) string {
	const blanks = " \t\r\n\f\v"
	var out []string
	for rest := strings.Trim(s, blanks); rest != ""; rest = strings.TrimLeft(rest, blanks) {
		key, value, ok := strings.Cut(rest, "=")
		key = strings.TrimRight(key, blanks)
		value = strings.TrimLeft(value, blanks)
		if !ok || key == "" || strings.ContainsAny(key, blanks+`@:/'"\`) {
			return unreadable
		}
		end, quoted := 0, strings.HasPrefix(value, "'")
		if quoted {
			end = 1
		}
		for ; end < len(value); end++ {
			c := value[end]
			if c == '\\' {
				end++
			} else if quoted && c == '\'' || !quoted && strings.IndexByte(blanks, c) >= 0 {
				break
			}
		}
		if quoted {
			end++ // past the closing quote
		}
		if quoted && end > len(value) {
			return unreadable
		}
		end = min(end, len(value))
		if secretKeyword(key) {
			out = append(out, key+"="+masked)
		} else {
			out = append(out, key+"="+value[:end])
		}
		rest = value[end:]
	}
	return strings.Join(out, " ")
}

// scrub removes every spelling of a secret from a text that libraries wrote.
func scrub(text string, secrets ...string) string {
	for _, s := range secrets {
		if s == "" {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			text = strings.ReplaceAll(text, form, masked)
		}
	}
	return text
}
