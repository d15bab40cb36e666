package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
)

type operators struct{}

func (operators) Authenticate(_ context.Context, c access.Credentials) (access.Principal, error) {
	if c.Bearer != "secret" {
		return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody knows this token"}
	}
	return access.Principal{Kind: access.KindToken, Name: "ci", Role: access.Operator}, nil
}

type noAudit struct{}

func (noAudit) Begin(context.Context, access.Entry) (int64, error)      { return 1, nil }
func (noAudit) End(_ context.Context, _ int64, _ string, _ int64) error { return nil }

// controlPlane serves the governance API and returns the environment in which
// weir finds it.
func controlPlane(t *testing.T) (env map[string]string, url string) {
	t.Helper()
	a := api.New(api.Config{Store: memory.New(memory.Options{})})
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1", Auth: operators{}, Audit: noAudit{}})
	a.Register(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	srv := httptest.NewServer(h.Handler())
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return map[string]string{"WEIR_SERVER": srv.URL, "WEIR_TOKEN": "secret"}, srv.URL
}

// service is a running service with the real SDK.
func service(t *testing.T, url, app, instance string) *sdk.Kit {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	kit, err := sdk.Start(t.Context(), sdk.Config{
		App: app, Instance: instance, Name: instance + "-pod", ControlURL: url, TracingURL: sdk.Off, TokenFile: token,
		StateDir: sdk.Off, Getenv: func(string) string { return "" },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = kit.Close(ctx) // what it still had to tell matters to nobody
	})
	return kit
}

// weirSays runs weir to its end and wants each of the texts in its output.
func weirSays(t *testing.T, env map[string]string, args []string, want ...string) string {
	t.Helper()
	code, out, errs := do(t, env, args...)
	if code != 0 {
		t.Fatalf("weir %s: %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			t.Fatalf("weir %s does not say %q:\n%s", strings.Join(args, " "), text, out)
		}
	}
	return out
}

// eventually runs weir until its output holds a text.
func eventually(t *testing.T, env map[string]string, args []string, want string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, out, errs := do(t, env, args...)
		if strings.Contains(out, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("weir %s never says %q:\n%s%s", strings.Join(args, " "), want, out, errs)
		}
	}
}

func TestASwitchFromTheCommandLine(t *testing.T) {
	t.Parallel()
	env, url := controlPlane(t)
	const target = "shop/inventory/InventoryService.reserve"
	weirSays(t, env, []string{"switch", "list"}, "none")
	weirSays(t, env, []string{"switch", "pull", target, "--for", "1m", "--reason", "nobody there"}, "confirmed by nobody: there are 0 live inventory instances", "releases by itself at")
	weirSays(t, env, []string{"switch", "release", target, "--reason", "nobody there"}, "released shop/inventory.InventoryService.reserve.switch, version 2")

	one, two := service(t, url, "shop/inventory", "a"), service(t, url, "shop/inventory", "b")
	eventually(t, env, []string{"history", "shop/inventory"}, "2 live instances of which 2 enforce what they should")
	weirSays(t, env, []string{"switch", "pull", target, "--for", "30m", "--value", `{"reserved":false}`, "--reason", "Lager überflutet", "--wait", "25s"},
		"pulled shop/inventory.InventoryService.reserve.switch, version 3", "confirmed by 2 of 2 inventory instances in 0.", "where Weir's SDK runs even if this control plane is gone")
	for _, kit := range []*sdk.Kit{one, two} {
		c := kit.Breakers().Circuit(governance.Series{Command: "InventoryService.reserve", At: governance.Provider})
		got, err := breaker.Do(t.Context(), c, func(context.Context) (map[string]bool, error) { return map[string]bool{"reserved": true}, nil })
		if err != nil || got["reserved"] {
			t.Fatalf("a call while the switch is pulled: %v, %v", got, err)
		}
	}
	weirSays(t, env, []string{"switch", "list"}, target, `{"reserved":false}`, "2 of 2", "token:ci", "Lager überflutet")
	weirSays(t, env, []string{"policy", "explain", target}, "breaker.mode", "shop/inventory.InventoryService.reserve.switch", "sets breaker.mode, fallback")
	weirSays(t, env, []string{"policy", "status", "shop/inventory.InventoryService.reserve.switch"}, "2 of 2 confirmed", "a-pod", "b-pod")
	eventually(t, env, []string{"history", "shop/inventory", "InventoryService.reserve", "--from", "-5m"}, "forcedOpen")
	eventually(t, env, []string{"events"}, "confirmed by 2 of 2 instances")
	weirSays(t, env, []string{"events", "--app", "shop/inventory", "--kind", "policy.published,policy.deleted"}, "published", "ended", "Lager überflutet")
	weirSays(t, env, []string{"switch", "release", target, "--reason", "dry again", "--wait", "25s"}, "confirmed by 2 of 2")
	weirSays(t, env, []string{"switch", "list"}, "none")
}

func TestAPolicyFromTheCommandLine(t *testing.T) {
	t.Parallel()
	env, _ := controlPlane(t)
	file := filepath.Join(t.TempDir(), "reserve.yaml")
	if err := os.WriteFile(file, []byte(`# how orders calls
target: {app: shop/inventory, command: InventoryService.reserve, at: caller, from: shop/orders}
breaker: {window: 10s, minCalls: 20, errorPercent: 50, slowCall: 500ms, slowPercent: 80, openFor: 5s, probes: 3}
timeout: 800ms
bulkhead: {concurrent: 64}
fallback: {cached: {maxAge: 5m}, else: {value: {reserved: false}}}
---
target: {app: shop/inventory}
timeout: 3s
`), 0o600); err != nil {
		t.Fatal(err)
	}
	const name = "shop/inventory.InventoryService.reserve.caller.orders"
	weirSays(t, env, []string{"policy", "publish", "-f", file, "--dry-run"}, "+ "+name+"   new; ", "0 live instances would have to enforce it")
	weirSays(t, env, []string{"policy", "list"}, "none")
	weirSays(t, env, []string{"policy", "publish", "-f", file, "--reason", "INC-2211"}, "published "+name+", version 1", "published shop/inventory.all, version 2", "confirmed by nobody")
	weirSays(t, env, []string{"policy", "list"}, name, "opens at 50 % errors", "at caller shop/orders", "timeout 3s")
	out := weirSays(t, env, []string{"policy", "get", name}, "# version 1, ", "by token:ci: INC-2211", "timeout: 800ms")

	// What get prints can be published.
	again := filepath.Join(t.TempDir(), "again.yaml")
	if err := os.WriteFile(again, []byte(strings.ReplaceAll(out, "800ms", "500ms")), 0o600); err != nil {
		t.Fatal(err)
	}
	weirSays(t, env, []string{"policy", "publish", "-f", again, "--dry-run"}, "~ "+name+"   replaces version 1")
	if code, _, errs := do(t, env, "policy", "publish", "-f", again, "--reason", "x", "--expect", "7"); code != 1 || !strings.Contains(errs, "version 1") {
		t.Fatalf("%d %s", code, errs)
	}
	weirSays(t, env, []string{"policy", "publish", "-f", again, "--reason", "tighter", "--expect", "1"}, "version 3")
	weirSays(t, env, []string{"policy", "rollback", name, "--to", "1", "--reason", "too tight"}, "rolled back to version 1: "+name+", version 4")
	weirSays(t, env, []string{"policy", "versions", name}, "too tight", "tighter", "INC-2211")
	weirSays(t, env, []string{"policy", "delete", name, "--reason", "over"}, "ended "+name+", version 5")
	weirSays(t, env, []string{"policy", "list", "-o", "json"}, `"version": 5`)
}

func TestWrongPolicyCommandsSayWhatToDo(t *testing.T) {
	t.Parallel()
	env, _ := controlPlane(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("target: {app: shop/inventory}\ntimeuot: 1s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"a write needs a reason: say why with --reason":                  {"switch", "pull", "shop/inventory/x"},
		`"inventory" is no target: write namespace/app/command`:          {"switch", "pull", "inventory", "--reason", "x"},
		"is no JSON: text stands in double quotes":                       {"switch", "pull", "shop/inventory/x", "--value", "closed", "--reason", "x"},
		"give one of --value, --empty and --error":                       {"switch", "pull", "shop/inventory/x", "--value", "1", "--empty", "--reason", "x"},
		"--for -1s is over already":                                      {"switch", "pull", "shop/inventory/x", "--for", "-1s", "--reason", "x"},
		"body.timeuot: there is no such field":                           {"policy", "publish", "-f", bad, "--reason", "x"},
		"there is nothing to publish: name a file with -f":               {"policy", "publish", "--reason", "x"},
		`"x" is no policy: write namespace/name`:                         {"policy", "get", "x"},
		"say which version with --to":                                    {"policy", "rollback", "shop/x", "--reason", "x"},
		`"shop/inventory" names no command: write namespace/app/command`: {"policy", "explain", "shop/inventory"},
		`"inventory" is no application: write namespace/name`:            {"history", "inventory"},
	} {
		code, out, errs := do(t, env, args...)
		if code != cli2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("weir %s: %d, %q, want %q in it", strings.Join(args, " "), code, errs, want)
		}
	}
	for want, args := range map[string][]string{
		"there is no policy shop/x":                   {"policy", "get", "shop/x"},
		"no switch shop/inventory.x.switch is pulled": {"switch", "release", "shop/inventory/x", "--reason", "x"},
	} {
		code, out, errs := do(t, env, args...)
		if code != 1 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("weir %s: %d, %q, want %q in it", strings.Join(args, " "), code, errs, want)
		}
	}
	if code, _, errs := do(t, map[string]string{"WEIR_SERVER": "http://127.0.0.1:1", "WEIR_TOKEN": "x"}, "switch", "list"); code != 3 || strings.Count(errs, "\n") != 1 {
		t.Errorf("with nobody there: %d %s", code, errs)
	}
}

// cli2 is the exit code of wrong usage.
const cli2 = 2

// TestTheGuidesPoliciesAreTaken tries every policy that docs/policies.md shows.
func TestTheGuidesPoliciesAreTaken(t *testing.T) {
	t.Parallel()
	env, _ := controlPlane(t)
	guide, err := os.ReadFile(filepath.Join(home, "..", "..", "..", "..", "docs", "policies.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(guide), "```yaml\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d policies in the guide", len(blocks))
	}
	for i, b := range blocks {
		doc, _, _ := strings.Cut(b, "```")
		file := filepath.Join(t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		weirSays(t, env, []string{"policy", "publish", "-f", file, "--dry-run"}, "+ shop/inventory.InventoryService.reserve.")
		t.Logf("block %d is taken", i+1)
	}
}
