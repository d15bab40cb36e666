package sdk_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/sdktest"
	"github.com/weirmesh/weir/sdk/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func call(t *testing.T, c *breaker.Circuit, err error) error {
	t.Helper()
	_, got := breaker.Do(t.Context(), c, func(context.Context) (int, error) { return 0, err })
	return got
}

// TestSwitchReachesAService is flow four of docs/flows.md as the service sees it:
// published, applied, confirmed, obeyed, released.
func TestSwitchReachesAService(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/inventory")
	reserve := kit.Breakers().Circuit(governance.Series{Command: "InventoryService.reserve", At: governance.Provider})
	if err := call(t, reserve, nil); err != nil {
		t.Fatal(err)
	}
	pull := sdktest.Switch("shop/inventory", "InventoryService.reserve")
	changed := make(chan struct{}, 10)
	stop := kit.OnPolicies(func() { changed <- struct{}{} })
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	<-changed
	var refused *breaker.Refused
	if err := call(t, reserve, nil); !errors.As(err, &refused) || refused.Policy != "shop/inventory.InventoryService.reserve.switch" {
		t.Fatalf("with the switch pulled: %v", err)
	}
	stop()
	for len(changed) > 0 {
		<-changed // the stream's first word may have come after the listener did
	}
	mesh.Delete(pull)
	mesh.WaitApplied(t, kit)
	if err := call(t, reserve, nil); err != nil {
		t.Fatalf("with the switch released: %v", err)
	}
	if len(changed) != 0 {
		t.Error("a listener was told after its stop")
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := mesh.Counts("shop/inventory", "InventoryService.reserve")
	if c.Success != 2 || c.Switched != 1 {
		t.Errorf("told of %+v", c)
	}
	tr := mesh.Transitions("shop/inventory", "InventoryService.reserve")
	if len(tr) != 2 || tr[0].To != governance.StateForcedOpen || tr[1].To != governance.StateClosed {
		t.Errorf("told of %+v", tr)
	}
	if len(mesh.Instances()) != 0 {
		t.Error("the stream is open after Close")
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// TestExpiryWithoutAControlPlane holds that a switch ends by itself.
func TestExpiryWithoutAControlPlane(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/inventory")
	c := kit.Breakers().Circuit(governance.Series{Command: "reserve", At: governance.Provider})
	released := make(chan governance.Transition, 10)
	defer kit.Breakers().Listen(func(tr governance.Transition) { released <- tr })()
	pull := sdktest.Switch("shop/inventory", "reserve")
	pull.Expires = time.Now().Add(700 * time.Millisecond)
	mesh.Publish(t, pull)
	if tr := <-released; tr.To != governance.StateForcedOpen {
		t.Fatalf("%+v", tr)
	}
	mesh.Down()
	if tr := <-released; tr.To != governance.StateClosed || !strings.Contains(tr.Cause, "expired") {
		t.Errorf("%+v", tr)
	}
	if err := call(t, c, nil); err != nil {
		t.Error(err)
	}
}

func TestStartsOnItsFileWithoutAControlPlane(t *testing.T) {
	mesh := sdktest.Start(t)
	cfg := mesh.Config(t, "shop/inventory")
	kit := mesh.KitWith(t, cfg)
	mesh.Publish(t, sdktest.Switch("shop/inventory", "reserve"))
	mesh.WaitApplied(t, kit)
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	mesh.Down()
	kit = mesh.KitWith(t, cfg)
	c := kit.Breakers().Circuit(governance.Series{Command: "reserve", At: governance.Provider})
	if err := call(t, c, nil); err == nil {
		t.Error("the switch is forgotten")
	}
	if s := kit.Status(); s.Policy.Source != "file" || s.Policy.Applied.Version != 1 {
		t.Errorf("%+v", s.Policy)
	}
}

// TestCallersAreGoverned holds that a callee which is declared late brings its
// policies.
func TestCallersAreGoverned(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/orders")
	inventory := governance.App{Namespace: "shop", Name: "inventory"}
	p := sdktest.Switch("shop/inventory", "reserve")
	p.Target.At = governance.Caller
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	c := kit.Breakers().Circuit(governance.Series{Command: "reserve", At: governance.Caller, Peer: inventory})
	if err := call(t, c, nil); err != nil {
		t.Fatal(err)
	}
	kit.Calls(inventory)
	mesh.Wait(t, "the switch to reach the caller", func() bool { return c.State() == governance.StateForcedOpen })
}

func TestSpans(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/orders")
	span, _ := kit.Tracer().StartServer(t.Context(), "GET /orders", trace.Strings{})
	span.Finish()
	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := mesh.Spans()
	if len(got) != 1 || got[0].LocalEndpoint.ServiceName != "orders" || got[0].Tags[trace.TagNamespace] != "shop" || got[0].Tags[trace.TagInstance] != kit.Instance() {
		t.Errorf("spans are %+v", got)
	}
}

// A service closes its kit when its own context has been canceled: that is why it
// ends. What happened last is told nevertheless.
func TestCloseWithAContextThatWasCanceled(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/orders")
	ctx, cancel := context.WithCancel(t.Context())
	span, _ := kit.Tracer().StartServer(ctx, "GET /orders", trace.Strings{})
	span.Finish()
	if err := call(t, kit.Breakers().Circuit(governance.Series{Command: "place", At: governance.Provider}), nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := kit.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(mesh.Spans()); n != 1 || mesh.Counts("shop/orders", "place").Success != 1 {
		t.Errorf("told of %d spans and %+v", n, mesh.Counts("shop/orders", "place"))
	}
}

func TestAlone(t *testing.T) {
	var log strings.Builder
	kit, err := sdk.Start(t.Context(), sdk.Config{
		App: "orders", Logger: slog.New(slog.NewTextHandler(&log, nil)), Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	kit.Calls(governance.App{Namespace: "shop", Name: "inventory"})
	kit.AddSource(func(time.Time) []governance.Sample { return nil })
	kit.Transition(governance.Transition{})
	c := kit.Breakers().Circuit(governance.Series{Command: "place", At: governance.Provider})
	if err := call(t, c, nil); err != nil {
		t.Error(err)
	}
	if !kit.Status().Alone || kit.App().String() != "default/orders" || kit.Instance() == "" {
		t.Errorf("%+v, %s, %q", kit.Status(), kit.App(), kit.Instance())
	}
	if err := kit.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if log.String() != "" {
		t.Errorf("it said %s", log.String())
	}
}

func TestConfig(t *testing.T) {
	claims := `{"kubernetes.io":{"namespace":"shop","pod":{"name":"orders-x1","uid":"uid-1"}}}`
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("h."+base64.RawURLEncoding.EncodeToString([]byte(claims))+".s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(cfg sdk.Config, env map[string]string) (*sdk.Kit, error) {
		cfg.Getenv = func(key string) string { return env[key] }
		kit, err := sdk.Start(t.Context(), cfg)
		if err == nil {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // nothing is to be told
			_ = kit.Close(ctx)
		}
		return kit, err
	}
	for _, tt := range []struct {
		name     string
		cfg      sdk.Config
		env      map[string]string
		app, id  string // what is wanted; id "" for a generated one
		errs     string
		hasPlane bool
	}{
		{"no app", sdk.Config{}, nil, "", "", "WEIR_APP", false},
		{"app with a bad name", sdk.Config{App: "a/b/c"}, nil, "", "", "namespace/name", false},
		{"contradiction", sdk.Config{App: "shop/orders", Namespace: "bank"}, nil, "", "", "contradict", false},
		{"bad address", sdk.Config{App: "a", ControlURL: "control:9000"}, nil, "", "", "WEIR_CONTROL_URL", false},
		{"bad collector", sdk.Config{App: "a", TracingURL: "tracing:9411"}, nil, "", "", "WEIR_TRACING_URL", false},
		{"from the environment", sdk.Config{}, map[string]string{
			"WEIR_APP": "orders", "POD_NAMESPACE": "shop", "POD_UID": "u", "POD_NAME": "n", "POD_IP": "10.1.2.3",
			"WEIR_CONTROL_URL": "http://127.0.0.1:1", "WEIR_TRACING_URL": "off", "WEIR_STATE_DIR": "off",
		}, "shop/orders", "u", "", true},
		{"from a pod's token", sdk.Config{App: "orders"}, map[string]string{
			"KUBERNETES_SERVICE_HOST": "10.0.0.1", "WEIR_TOKEN_FILE": token, "WEIR_TRACING_URL": "off", "WEIR_STATE_DIR": "off",
			"WEIR_CONTROL_URL": "http://127.0.0.1:1",
		}, "shop/orders", "uid-1", "", true},
		{"off in a pod", sdk.Config{App: "shop/orders", ControlURL: sdk.Off, TracingURL: sdk.Off}, map[string]string{
			"KUBERNETES_SERVICE_HOST": "10.0.0.1", "WEIR_CONTROL_URL": "http://127.0.0.1:1",
		}, "shop/orders", "", "", false},
		{"fields beat variables", sdk.Config{App: "bank/teller", Instance: "i"}, map[string]string{"WEIR_APP": "orders", "POD_UID": "u"}, "bank/teller", "i", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kit, err := start(tt.cfg, tt.env)
			if tt.errs != "" {
				if err == nil || !strings.Contains(err.Error(), tt.errs) {
					t.Errorf("got %v, want %q in it", err, tt.errs)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if kit.App().String() != tt.app || (tt.id != "" && kit.Instance() != tt.id) || kit.Instance() == "" || kit.Status().Alone == tt.hasPlane {
				t.Errorf("%s, %q, alone %t", kit.App(), kit.Instance(), kit.Status().Alone)
			}
		})
	}
}

func TestTokenOfTheInstance(t *testing.T) {
	mesh := sdktest.Start(t)
	mesh.RequireToken("secret")
	cfg := mesh.Config(t, "shop/orders")
	cfg.TokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(cfg.TokenFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.HTTPClient = &http.Client{Transport: &http.Transport{}}
	defer cfg.HTTPClient.CloseIdleConnections()
	kit := mesh.KitWith(t, cfg)
	mesh.WaitApplied(t, kit)
}

var metricLine = regexp.MustCompile(`^[a-z_]+(\{[a-z]+="([^"\\]|\\["\\n])*"(,[a-z]+="([^"\\]|\\["\\n])*")*\})? -?[0-9.e+-]+$`)

func TestMetrics(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/orders")
	kit.Breakers().Circuit(governance.Series{Command: "odd \"name\"\n\\", At: governance.Provider})
	kit.Breakers().Circuit(governance.Series{Command: "no text \xff", At: governance.Provider}) // which Prometheus would refuse with all the others
	mesh.Publish(t, sdktest.Switch("shop/orders", "place"))
	place := kit.Breakers().Circuit(governance.Series{Command: "place", At: governance.Provider})
	mesh.WaitApplied(t, kit)
	_ = place
	w := httptest.NewRecorder()
	kit.MetricsHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	text, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	typed := map[string]bool{}
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ := strings.Cut(rest, " ")
			if typed[name] {
				t.Errorf("%s is declared twice", name)
			}
			typed[name] = true
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		if !metricLine.MatchString(line) || !typed[line[:strings.IndexAny(line, "{ ")]] {
			t.Errorf("no line of Prometheus: %s", line)
		}
	}
	for _, want := range []string{
		`weir_sdk_stream_connected 1`,
		`weir_sdk_policy_version 1`,
		`weir_sdk_policy_refused 0`,
		`weir_sdk_dropped_total{kind="samples"} 0`,
		`weir_sdk_spans_dropped_total{reason="full"} 0`,
		`weir_sdk_circuit_state{command="place",at="provider",peer="",state="forcedOpen"} 1`,
		`weir_sdk_circuit_state{command="no text \\xff",at="provider",peer="",state="closed"} 1`,
		`weir_sdk_circuit_state{command="odd \"name\"\n\\",at="provider",peer="",state="closed"} 1`,
	} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}
