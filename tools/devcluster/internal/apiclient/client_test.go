package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/tools/devcluster/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	c := &Client{server: s.URL, http: s.Client()}
	t.Cleanup(s.Close)
	t.Cleanup(c.Close)
	return c
}

func TestAnswers(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			io.WriteString(w, `{"kind":"Node"}`)
		case "/status":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"kind":"Status","message":"nodes is forbidden"}`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, strings.Repeat("[-]etcd failed ", 100))
		}
	})
	var n struct{ Kind string }
	if err := c.Get(t.Context(), "/good", &n); err != nil || n.Kind != "Node" {
		t.Errorf("got %+v, %v", n, err)
	}
	var status *StatusError
	if err := c.Get(t.Context(), "/status", nil); !errors.As(err, &status) || status.Code != 403 || status.Message != "nodes is forbidden" {
		t.Errorf("got %v", err)
	}
	if err := c.Get(t.Context(), "/readyz", nil); !errors.As(err, &status) || !strings.HasPrefix(status.Message, "[-]etcd") || len(status.Message) > 200 {
		t.Errorf("got %v", err)
	}
}

func TestWrites(t *testing.T) {
	type request struct{ method, uri, contentType, body string }
	var got request
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = request{r.Method, r.RequestURI, r.Header.Get("Content-Type"), string(b)}
	})
	body := map[string]string{"kind": "Service"}
	if err := c.Apply(t.Context(), "/x", body); err != nil {
		t.Fatal(err)
	}
	if want := (request{"PATCH", "/x?fieldManager=devcluster&force=true", "application/apply-patch+yaml", `{"kind":"Service"}`}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := c.Patch(t.Context(), "/x/status", body); err != nil {
		t.Fatal(err)
	}
	if want := (request{"PATCH", "/x/status", "application/strategic-merge-patch+json", `{"kind":"Service"}`}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWaitEndsWithSuccessOrTheLastReason(t *testing.T) {
	ready := false
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if !ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		ready = true
	})
	if err := c.WaitOK(t.Context(), "/readyz"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Wait(ctx, func(context.Context) error {
		cancel()
		return errors.New("not yet")
	})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not yet") {
		t.Errorf("got %v, want the context's end and the last reason", err)
	}
}

// The certificates of a cluster serve a client and a server that trust its
// authority, and nobody else's.
func TestNew(t *testing.T) {
	dir := t.TempDir()
	plan := pki.Plan{Server: "https://127.0.0.1", Name: "test", APIServerSANs: []string{"127.0.0.1"}}
	if _, err := pki.Ensure(dir, plan, time.Now()); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	c, err := New("https://127.0.0.1", file("ca.crt"), file("admin.crt"), file("admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(nil) }))
	defer s.Close()
	c.server = s.URL
	if err := c.Get(t.Context(), "/", nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger's certificate: got %v", err)
	}
	if err := os.WriteFile(file("empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][3]string{
		{"none", "admin.crt", "admin.key"}, {"empty", "admin.crt", "admin.key"}, {"ca.crt", "admin.crt", "kube-scheduler.key"},
	} {
		if _, err := New("https://127.0.0.1", file(files[0]), file(files[1]), file(files[2])); err == nil {
			t.Errorf("%v: got no error", files)
		}
	}
}
