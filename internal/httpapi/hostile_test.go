package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirmesh/weir/internal/access"
)

// What no database takes is the sender's fault, and is said so before anybody reads it.
func TestAddressesHoldText(t *testing.T) {
	f := setup(t)
	who := []string{"Authorization", "Bearer operator", "Weir-Reason", "test"}
	for _, bad := range []string{
		"/api/v1/sh%00op/thing", "/api/v1/sh%ffop/thing", put + "?reason=a%00b", put + "?reason=%ff", put + "?w%0ait=1s",
		put + "?wait=1%zz", put + "?wait=1s;reason=x",
	} {
		f.wantProblem(f.do("PUT", bad, good, who...), http.StatusBadRequest)
	}
	if f.calls != 0 || len(f.journal.entries) != 0 {
		t.Errorf("the handler ran %d times, %d were recorded", f.calls, len(f.journal.entries))
	}
}

// Audits keep one bounded line of what was sent, whatever it was.
func TestAuditsHoldText(t *testing.T) {
	f := setup(t)
	f.fails = &access.DeniedError{Message: strings.Repeat("é", 5000) + "\x00\x1b"}
	who := []string{"Authorization", "Bearer operator", "Weir-Reason", "test"}
	f.wantProblem(f.do("PUT", put, `{"name":"a\u0000b\u001b[2Jc"}`, who...), http.StatusForbidden)
	e := f.journal.last(t)
	if e.Object != "thing shop/a b [2Jc" {
		t.Errorf("object %q", e.Object)
	}
	if len(e.Outcome) > 1000 || !utf8.ValidString(e.Outcome) || strings.ContainsAny(e.Outcome, "\x00\x1b") {
		t.Errorf("outcome of %d bytes: %q", len(e.Outcome), e.Outcome)
	}
}

func TestPublicWritesComeFromTheSameOrigin(t *testing.T) {
	f := setup(t)
	f.wantProblem(f.do("POST", "/api/v1/hello", "", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "another site")
	f.wantProblem(f.do("POST", "/api/v1/hello", "", "Origin", "https://evil.example"), http.StatusForbidden, "another site")
	for _, site := range []string{"same-origin", "none", ""} {
		if a := f.do("POST", "/api/v1/hello", "", "Sec-Fetch-Site", site); a.StatusCode != http.StatusNoContent {
			t.Errorf("%q: %s %s", site, a.Status, a.raw)
		}
	}
}
