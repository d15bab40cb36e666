package cli_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testkube"
)

// adminOf is the address of a role's health checks: what was given to it.
func adminOf(t *testing.T) string {
	t.Helper()
	l := httptest.NewUnstartedServer(nil).Listener
	defer l.Close()
	return l.Addr().String()
}

// ready waits until a role says that it is.
func ready(t *testing.T, admin string) {
	t.Helper()
	testkube.Eventually(t, admin+" is ready", func() error {
		resp, err := web.Get("http://" + admin + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			raw, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("%s", raw)
		}
		return nil
	})
}

// restartable is a PostgreSQL that a test ends and starts again at one address.
type restartable struct {
	dir    string
	port   int
	server *pg.Server
}

func newRestartable(t *testing.T) *restartable {
	t.Helper()
	r := &restartable{dir: dataDir(t)}
	r.start(t)
	port, err := strconv.Atoi(r.server.Address()[strings.LastIndex(r.server.Address(), ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	r.port = port
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *restartable) start(t *testing.T) {
	t.Helper()
	var err error
	if r.server, err = pg.StartServer(t.Context(), pg.ServerConfig{Dir: r.dir, Port: r.port, NoFsync: true}); err != nil {
		t.Fatal(err)
	}
}

func (r *restartable) stop(t *testing.T) {
	t.Helper()
	if r.server == nil {
		return
	}
	if err := r.server.Close(context.Background()); err != nil {
		t.Error(err)
	}
	r.server = nil
}

// The three roles on one database, each a process of its own, and then without
// it.
func TestRolesApart(t *testing.T) {
	db := newRestartable(t)
	url := db.server.URL()
	dir := t.TempDir()

	control := start(t, nil, "control", "--database-url", url, "--control-listen", "127.0.0.1:0", "--admin-listen", "", "--node-name", "plane")
	env := map[string]string{"WEIR_SERVER": control.serving(t), "WEIR_TOKEN": loginToken(t, control)}

	gatewayAdmin, tracingAdmin := adminOf(t), adminOf(t)
	tracingArgs := []string{"tracing", "--database-url", url, "--tracing-listen", "127.0.0.1:0", "--admin-listen", tracingAdmin, "--data-dir", dir, "--node-name", "spans"}
	tracing := start(t, nil, tracingArgs...)
	collector := tracing.serving(t)
	ready(t, tracingAdmin)
	gatewayArgs := []string{
		"gateway", "--database-url", url, "--gateway-listen", "127.0.0.1:0", "--admin-listen", gatewayAdmin, "--data-dir", dir,
		"--node-name", "one", "--control-url", "off", "--tracing-url", collector,
	}
	gateway := start(t, nil, gatewayArgs...)
	front := gateway.serving(t)
	ready(t, gatewayAdmin)

	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello from "+r.URL.Path) }))
	defer upstream.Close()
	route := strings.NewReplacer("UPSTREAM", upstream.URL).Replace("namespace: shop\nname: hello\nmatch: {path: \"/hello/{who}\"}\nupstream: {url: UPSTREAM}\n")
	file := write(t, "route.yaml", route)
	if code, out, errs := do(t, env, "route", "apply", "-f", file, "--reason", "test", "--wait", "10s"); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	if status, body := get(t, front+"/hello/you"); status != http.StatusOK || body != "hello from /hello/you" {
		t.Errorf("%d %s", status, body)
	}
	testkube.Eventually(t, "the gateway's spans are stored", func() error {
		if _, body := get(t, collector+"/api/v2/services"); !strings.Contains(body, `"gateway"`) {
			return fmt.Errorf("services: %s", body)
		}
		return nil
	})

	// Every role is known by its name, wherever it runs.
	testkube.Eventually(t, "the system view shows all three", func() error {
		code, out, errs := do(t, env, "system")
		for _, want := range []string{"control   plane ", "gateway   one ", "serves revision 1 of the routes, the newest", "tracing   spans ", "span spool", "registry   not known: this control plane looks after no cluster", "tracing.fragment", "PostgreSQL "} {
			if code != 0 || !strings.Contains(out, want) {
				return fmt.Errorf("%d, %q is missing in\n%s%s", code, want, out, errs)
			}
		}
		return nil
	})

	// The database goes, then every role that can do without is started anew.
	db.stop(t)
	for _, w := range []*weir{gateway, tracing} {
		w.cancel()
		w.wait(t)
		if w.code != 0 {
			t.Errorf("ended with %d: %s", w.code, w.errs)
		}
	}
	testkube.Eventually(t, "the system view says that the database is away, and what was known", func() error {
		code, out, errs := do(t, env, "system")
		if code != 0 || !strings.Contains(out, "database   AWAY: postgres: ") || !strings.Contains(out, "; it last answered at ") || !strings.Contains(out, "; what it holds is told as of ") || !strings.Contains(out, "gateway   one ") {
			return fmt.Errorf("%d\n%s%s", code, out, errs)
		}
		return nil
	})
	gateway = start(t, nil, gatewayArgs...)
	front = gateway.serving(t)
	ready(t, gatewayAdmin)
	if status, body := get(t, front+"/hello/again"); status != http.StatusOK || body != "hello from /hello/again" {
		t.Errorf("without the database: %d %s", status, body)
	}
	tracing = start(t, nil, tracingArgs...)
	collector = tracing.serving(t)
	span := fmt.Sprintf(`[{"traceId":"000000000000000a000000000000000b","id":"000000000000000c","name":"later","timestamp":%d,"duration":5,"localEndpoint":{"serviceName":"spooled"}}]`, time.Now().UnixMicro())
	resp, err := web.Post(collector+"/api/v2/spans", "application/json", strings.NewReader(span))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("spans without the database: %s", resp.Status)
	}
	if code, _, errs := do(t, env, "token", "revoke", "x", "--reason", "test"); code != 1 || !strings.Contains(errs, "nothing was done: the database does not answer") {
		t.Errorf("a write without the database: %d %s", code, errs)
	}

	// It comes back, and what came meanwhile is there.
	db.start(t)
	testkube.Eventually(t, "the spooled span is stored", func() error {
		if status, body := get(t, collector+"/api/v2/trace/000000000000000a000000000000000b"); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	testkube.Eventually(t, "the control plane writes again", func() error {
		if code, _, errs := do(t, env, "route", "apply", "-f", write(t, "two.yaml", strings.ReplaceAll(route, "hello", "hi")), "--reason", "test", "--wait", "10s"); code != 0 {
			return fmt.Errorf("%s", errs)
		}
		return nil
	})
	testkube.Eventually(t, "the gateway follows again", func() error {
		if status, body := get(t, front+"/hi/you"); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}
