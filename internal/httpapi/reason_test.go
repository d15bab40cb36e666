package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Whatever is sent, a reason is one line of UTF-8 of bounded length, or refused.
func FuzzReason(f *testing.F) {
	for _, seed := range [][2]string{
		{"INC-2211", ""}, {"caf%C3%A9", ""}, {"50% off", ""}, {"a%0Ab", ""}, {"\xff", ""}, {"", "by query"}, {"  ", "\x00"}, {"%FF", ""}, {strings.Repeat("ü", 251), ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, header, query string) {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		r.Header.Set(ReasonHeader, header)
		q := r.URL.Query()
		q.Set(reasonQuery, query)
		r.URL.RawQuery = q.Encode()
		reason, err := reasonOf(r)
		if err != nil {
			return
		}
		if reason == "" || len(reason) > MaxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, unicode.IsControl) {
			t.Errorf("%q and %q give %q", header, query, reason)
		}
	})
}
