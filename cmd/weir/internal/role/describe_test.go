package role_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/internal/testdb"
)

func describe(t *testing.T) []byte {
	t.Helper()
	doc, err := role.Describe(t.Context(), "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Without a database in reach, the document is there, whole and the same.
func TestDescribeNeedsNothing(t *testing.T) {
	t.Setenv("PGHOST", "256.256.256.256")
	first := describe(t)
	if !bytes.Equal(first, describe(t)) {
		t.Error("the document differs from one call to the next")
	}
	var doc struct {
		Info  struct{ Version string }
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(first, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Info.Version != "1.2.3" {
		t.Errorf("it is of version %q", doc.Info.Version)
	}
	for _, path := range []string{"/api/v1/policies", "/api/v1/routes", "/api/v1/traces", "/api/v1/registry", "/api/v1/system", "/api/v1/me"} {
		if doc.Paths[path]["get"] == nil {
			t.Errorf("GET %s is missing", path)
		}
	}
}

// What a control plane serves of itself is what Describe says.
func TestDescribeIsWhatAControlPlaneServes(t *testing.T) {
	cluster := role.NewLate()
	c := role.NewControl(role.ControlDeps{
		Env:         role.Env{Version: "1.2.3", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: new(run.Health)},
		DatabaseURL: testdb.New(t).URL, Registry: cluster, Reviewer: cluster,
	})
	t.Cleanup(func() {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if err := c.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w
	}
	if served := get("/openapi.json").Body.Bytes(); !bytes.Equal(served, describe(t)) {
		t.Errorf("a control plane serves %d bytes of another description", len(served))
	}
	// The console stands beside the APIs, and hides nothing of them.
	for path, want := range map[string]struct {
		status      int
		contentType string
	}{
		"/":                    {http.StatusOK, "text/html; charset=utf-8"},
		"/apps/shop/inventory": {http.StatusOK, "text/html; charset=utf-8"},
		"/api/v1/none":         {http.StatusNotFound, "application/problem+json"},
		"/api/v1/me":           {http.StatusUnauthorized, "application/problem+json"},
		"/api/v1/login":        {http.StatusMethodNotAllowed, "application/problem+json"},
	} {
		if w := get(path); w.Code != want.status || w.Header().Get("Content-Type") != want.contentType {
			t.Errorf("GET %s: %d, %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}
