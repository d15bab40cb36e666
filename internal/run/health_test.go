package run_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/internal/run"
)

func TestAdminHandler(t *testing.T) {
	var h run.Health
	metrics := prometheus.NewRegistry()
	n := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_test_calls_total", Help: "Calls."})
	metrics.MustRegister(n)
	n.Add(3)
	srv := httptest.NewServer(run.AdminHandler(&h, metrics))
	defer srv.Close()
	get := func(path string, status int) string {
		t.Helper()
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != status {
			t.Errorf("%s answered %s: %s", path, resp.Status, body)
		}
		return string(body)
	}
	get("/readyz", http.StatusOK) // no checks, nothing to wait for
	db, hub := h.Check("postgres", "connecting"), h.Check("kubernetes", "")
	if got, want := get("/readyz", http.StatusServiceUnavailable), "kubernetes: not ready\npostgres: connecting\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	get("/livez", http.StatusOK)
	db.OK()
	hub.OK()
	get("/readyz", http.StatusOK)
	var lacking error
	h.Ask("routes", func() error { return lacking })
	get("/readyz", http.StatusOK)
	lacking = errors.New("none were read")
	if got, want := get("/readyz", http.StatusServiceUnavailable), "routes: none were read\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	lacking = nil
	db.Fail("lost the connection")
	if got := get("/readyz", http.StatusServiceUnavailable); got != "postgres: lost the connection\n" {
		t.Errorf("got %q", got)
	}
	if got := get("/metrics", http.StatusOK); !strings.Contains(got, "weir_test_calls_total 3") {
		t.Errorf("metrics lack the counter:\n%s", got)
	}
	get("/else", http.StatusNotFound)
}
