package pg

import (
	"net/url"
	"regexp"
	"strings"
)

const masked = "xxxxx"

// keywordPassword finds the password of a "host=… password=…" string, quoted or not.
var keywordPassword = regexp.MustCompile(`(?i)((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|(?:[^\s\\]|\\.)+)`)

// MaskURL returns a connection string, URL or keyword form, fit for logs and
// screens: passwords are replaced by "xxxxx". Of a URL that cannot be parsed
// it gives nothing away.
func MaskURL(s string) string {
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		if strings.Contains(s, "://") || strings.Contains(s, "@") {
			return "(unreadable database URL)"
		}
		return keywordPassword.ReplaceAllString(s, "${1}"+masked)
	}
	u, err := url.Parse(s)
	if err != nil {
		return "(unreadable database URL)"
	}
	if _, ok := u.User.Password(); ok {
		u.User = url.UserPassword(u.User.Username(), masked)
	}
	if q := u.Query(); q.Has("password") || q.Has("sslpassword") {
		for _, k := range []string{"password", "sslpassword"} {
			if q.Has(k) {
				q.Set(k, masked)
			}
		}
		u.RawQuery = q.Encode()
	}
	return u.String()
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
