package up

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
)

func TestValidate(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, change := range map[string]func(*Config){
		"--data-dir is empty":                                        func(c *Config) { c.DataDir = "" },
		"--postgres-port 70000 does not exist":                       func(c *Config) { c.PostgresPort = 70000 },
		"--postgres-port and --postgres-bin are for the private":     func(c *Config) { c.DatabaseURL, c.PostgresPort = "postgres://db/weir", 5432 },
		"--context needs --kubeconfig":                               func(c *Config) { c.Context = "prod" },
		"--install is for a cluster named by --kubeconfig":           func(c *Config) { c.Install = true },
		"--devcluster, --devcluster-slot and --node are for":         func(c *Config) { c.Kubeconfig, c.Node = "k", false },
		"--shop=true needs pods to run in":                           func(c *Config) { c.Node, c.Shop = false, yes },
		"--devcluster-slot is for a node":                            func(c *Config) { c.Node, c.DevclusterSlot = false, "3" },
		`--namespaces: registry: namespace "Shop"`:                   func(c *Config) { c.Namespaces = []string{"Shop"} },
		"--namespaces is empty":                                      func(c *Config) { c.Namespaces = nil },
		`--admin-listen "9001" is no host:port`:                      func(c *Config) { c.AdminListen = "9001" },
		"--stop-timeout 0s leaves no time":                           func(c *Config) { c.StopTimeout = 0 },
		"--data-dir is empty: name a directory\n--stop-timeout -1s ": func(c *Config) { c.DataDir, c.StopTimeout = "", -time.Second },
	} {
		c := Defaults()
		change(c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// newUp is an Up as far as its parts' bookkeeping needs one.
func newUp(t *testing.T, out *strings.Builder) *Up {
	t.Helper()
	u := &Up{Config: *Defaults(), Out: out, Env: func(string) (string, bool) { return "", false }, waiting: map[string]bool{"everything": true}}
	u.board = newBoard(out, nil, partPostgres, partKubernetes, partRegistry, partShop)
	return u
}

func TestClusterEvents(t *testing.T) {
	var out strings.Builder
	k := &kubernetes{up: newUp(t, &out)}
	k.part()
	for _, line := range []string{
		"not JSON",
		`{"part":"control-plane","state":"starting"}`,
		`{"part":"node","state":"starting"}`,
		`{"part":"control-plane","state":"ready","seconds":2}`,
	} {
		k.event(line)
	}
	select {
	case <-k.ready:
		t.Fatal("ready before the cluster was")
	default:
	}
	if got := k.up.board.parts[1].detail; got != "node starting" {
		t.Errorf("progress shows %q", got)
	}
	k.event(`{"part":"node","state":"ready"}`)
	k.event(`{"part":"cluster","state":"ready","version":"v1.35.4","kubeconfig":"/k"}`)
	<-k.ready
	if k.summary.Version != "v1.35.4" || k.summary.Kubeconfig != "/k" {
		t.Errorf("summary %+v", k.summary)
	}
	k.check.OK()
	k.event(`{"part":"control-plane","state":"failed","detail":"it ended: killed\nrestarting"}`)
	if got := strings.Join(k.up.health.Reasons(), ""); got != "kubernetes: control-plane failed" {
		t.Errorf("readiness says %q", got)
	}
	k.event(`{"part":"control-plane","state":"ready"}`)
	if got := k.up.health.Reasons(); len(got) != 0 {
		t.Errorf("readiness says %q", got)
	}
	want := "  kubernetes  mending   control-plane failed: it ended: killed\n  kubernetes  ready     all parts run again\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("got\n%s\nwant at its end\n%s", out.String(), want)
	}
}

func TestAdviceNamesOurFlags(t *testing.T) {
	got := translate("make room, or choose another directory with --dir; or use --control-plane-only, or --slot 3")
	want := "make room, or choose another directory with --data-dir; or use --node=false, or --devcluster-slot 3"
	if got != want {
		t.Errorf("got %q", got)
	}
	want = "begin afresh after `devcluster down --dir data/devcluster --purge`"
	if got := translate(want); got != want {
		t.Errorf("a command of devcluster became %q", got)
	}
}

// layout makes a checkout with a built shop.
func layout(t *testing.T) (root, executable string) {
	t.Helper()
	root = t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deployment := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME, namespace: shop}\nspec: {template: {spec: {containers: [{name: NAME, ports: [{name: admin, containerPort: 9999}]}]}}}\n"
	write("examples/shop/deploy/b.yaml", strings.ReplaceAll(deployment, "NAME", "orders")+"---\napiVersion: v1\nkind: Service\nmetadata: {name: orders, namespace: shop}\n")
	write("examples/shop/deploy/a.yaml", strings.ReplaceAll(deployment, "NAME", "load"))
	write("examples/shop/deploy/z.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	write("bin/shop/orders", "program 1")
	write("bin/shop/load", "program 2")
	write("bin/weir", "")
	return root, filepath.Join(root, "bin", "weir")
}

func TestShopIsFoundBesideWeir(t *testing.T) {
	root, executable := layout(t)
	u := newUp(t, &strings.Builder{})
	u.Executable = executable
	s, err := u.findShop()
	if err != nil || s == nil {
		t.Fatalf("got %v, %v; left out because %s", s, err, u.noShop)
	}
	var order []string
	for _, o := range s.objects {
		order = append(order, cluster.Describe(o))
	}
	if got, want := strings.Join(order, ", "), "Namespace shop, Service shop/orders, Deployment shop/load, Deployment shop/orders"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	want := []string{"shop.example/load:dev=" + root + "/bin/shop/load", "shop.example/orders:dev=" + root + "/bin/shop/orders"}
	if got := s.images(); !slices.Equal(got, want) {
		t.Errorf("images %v, want %v", got, want)
	}
	if got := adminPort(s.deployments[0]); got != 9999 {
		t.Errorf("admin port %d", got)
	}
	if s.serves(s.deployments[0]) || !s.serves(s.deployments[1]) {
		t.Error("an application is what has a Service")
	}
}

// A program that was built anew must come into the pods, under the same name.
func TestARebuiltProgramIsANewRollout(t *testing.T) {
	_, executable := layout(t)
	u := newUp(t, &strings.Builder{})
	u.Executable = executable
	stampOf := func() string {
		s, err := u.findShop()
		if err != nil || s == nil {
			t.Fatal(s, err)
		}
		text, _, err := unstructured.NestedString(s.deployments[1].Object, "spec", "template", "metadata", "annotations", binaryAnnotation)
		if err != nil || text == "" {
			t.Fatalf("no stamp: %v", err)
		}
		return text
	}
	before := stampOf()
	if again := stampOf(); again != before {
		t.Error("the same program has two stamps")
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(executable), "shop", "orders"), []byte("program 3"), 0o755); err != nil {
		t.Fatal(err)
	}
	if after := stampOf(); after == before {
		t.Error("two programs have one stamp")
	}
}

func TestShopThatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(c *Config, root string)
		own      bool
		err      string // of findShop
		leftOut  string // why, for the reader
		wantShop bool
	}{
		"not built":                  {change: func(_ *Config, root string) { os.Remove(filepath.Join(root, "bin", "shop", "load")) }, own: true, leftOut: "make build-shop"},
		"not built but wanted":       {change: func(c *Config, root string) { os.Remove(filepath.Join(root, "bin", "shop", "load")); c.Shop = yes }, own: true, err: "make build-shop"},
		"no manifests":               {change: func(_ *Config, root string) { os.RemoveAll(filepath.Join(root, "examples")) }, own: true, leftOut: "--shop-dir"},
		"named but not there":        {change: func(c *Config, _ string) { c.ShopDir = []string{"/nonexistent"} }, own: true, err: "--shop-dir"},
		"not wanted":                 {change: func(c *Config, _ string) { c.Shop = no }, own: true},
		"no pods":                    {change: func(c *Config, _ string) { c.Node = false }, own: true},
		"the user's cluster":         {change: func(*Config, string) {}},
		"the user's cluster, wanted": {change: func(c *Config, _ string) { c.Shop = yes }, wantShop: true},
	} {
		t.Run(name, func(t *testing.T) {
			root, executable := layout(t)
			t.Chdir(root)
			u := newUp(t, &strings.Builder{})
			u.Executable = executable
			if !c.own {
				u.target = &cluster.Target{}
			}
			c.change(&u.Config, root)
			s, err := u.findShop()
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q in it", err, c.err)
			}
			if (u.noShop == "") != (c.leftOut == "") || !strings.Contains(u.noShop, c.leftOut) {
				t.Errorf("left out because %q, want %q in it", u.noShop, c.leftOut)
			}
			if (s != nil) != c.wantShop {
				t.Errorf("shop %v", s)
			}
		})
	}
}
