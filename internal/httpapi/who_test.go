package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/internal/access"
)

func TestWhoMay(t *testing.T) {
	f := setup(t)
	why := []string{"Weir-Reason", "test"}
	f.wantProblem(f.do("PUT", put, good, why...), http.StatusUnauthorized, "Authorization: Bearer")
	a := f.do("PUT", put, good, append(why, "Authorization", "Bearer stolen")...)
	f.wantProblem(a, http.StatusUnauthorized, "nobody knows this token")
	if a.Header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	f.wantProblem(f.do("PUT", put, good, append(why, "Authorization", "Basic YTpi")...), http.StatusUnauthorized, "Bearer")
	f.wantProblem(f.do("PUT", put, good, append(why, "Authorization", "Bearer pod")...), http.StatusForbidden, "needs the role operator")
	if n := len(f.journal.entries); n != 0 {
		t.Errorf("%d entries of strangers were recorded", n)
	}
	f.wantProblem(f.do("PUT", put, good, append(why, "Authorization", "Bearer viewer")...), http.StatusForbidden, "needs the role operator")
	if e := f.journal.last(t); e.Principal != "user:vera" || !strings.HasPrefix(e.Outcome, "denied: ") {
		t.Errorf("recorded %+v", e)
	}
	f.wantProblem(f.do("PUT", "/api/v1/bank/thing", good, append(why, "Authorization", "Bearer shop")...), http.StatusForbidden, "in namespace bank")
	if e := f.journal.last(t); e.Object != "thing bank/a" || !strings.HasPrefix(e.Outcome, "denied: ") {
		t.Errorf("recorded %+v", e)
	}
	f.wantProblem(f.do("GET", "/api/v1/all", "", "Authorization", "Bearer shop"), http.StatusForbidden, "needs the role viewer")
	a = f.do("GET", "/api/v1/thing", "", "Authorization", "Bearer away")
	f.wantProblem(a, http.StatusServiceUnavailable, "does not answer")
	if strings.Contains(a.raw, "10.0.0.1") {
		t.Errorf("the cause leaked: %s", a.raw)
	}
	if a := f.do("GET", "/api/v1/hello", ""); a.StatusCode != http.StatusNoContent {
		t.Errorf("public: %s %s", a.Status, a.raw)
	}
	if f.calls != 0 {
		t.Errorf("the handler ran %d times", f.calls)
	}
}

func TestInstancesReportOnlyForTheirNamespace(t *testing.T) {
	f := setup(t)
	for token, want := range map[string]int{"pod": http.StatusAccepted, "operator": http.StatusAccepted, "shop": http.StatusAccepted, "viewer": http.StatusForbidden} {
		if a := f.do("POST", "/api/v1/reports?app=shop", `{"seq":1}`, "Authorization", "Bearer "+token); a.StatusCode != want {
			t.Errorf("%s: %s %s", token, a.Status, a.raw)
		}
	}
	f.wantProblem(f.do("POST", "/api/v1/reports?app=bank", `{}`, "Authorization", "Bearer pod"), http.StatusForbidden, "its own namespace")
	f.wantProblem(f.do("POST", "/api/v1/reports?app=bank", `{}`, "Authorization", "Bearer shop"), http.StatusForbidden, "namespace bank")
	f.wantProblem(f.do("POST", "/api/v1/reports?app=shop", `{"sequence":1}`, "Authorization", "Bearer pod"), http.StatusBadRequest, "body.sequence")
}

func TestSessionsWriteOnlyFromTheSameOrigin(t *testing.T) {
	f := setup(t)
	cookie := []string{"Cookie", access.SessionCookie + "=operator", "Weir-Reason", "test"}
	if a := f.do("PUT", put, good, append(cookie, "Sec-Fetch-Site", "same-origin")...); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.raw)
	}
	f.wantProblem(f.do("PUT", put, good, append(cookie, "Sec-Fetch-Site", "cross-site")...), http.StatusForbidden, "another site")
	f.wantProblem(f.do("PUT", put, good, append(cookie, "Origin", "https://evil.example")...), http.StatusForbidden, "another site")
	// A token is not sent by browsers on their own, so it may come from anywhere.
	if a := f.do("PUT", put, good, "Authorization", "Bearer operator", "Weir-Reason", "test", "Sec-Fetch-Site", "cross-site"); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, a.raw)
	}
}
