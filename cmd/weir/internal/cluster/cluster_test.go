package cluster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
)

func kubeconfig(t *testing.T, path, server string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	raw := `{apiVersion: v1, kind: Config, current-context: main,
clusters: [{name: c, cluster: {server: "` + server + `"}}],
users: [{name: u, user: {token: secret}}],
contexts: [{name: main, context: {cluster: c, user: u, namespace: mine}}, {name: other, context: {cluster: c, user: u}}]}`
	if err := os.WriteFile(path, []byte(raw), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestFindPrecedence(t *testing.T) {
	dir := t.TempDir()
	flag := kubeconfig(t, filepath.Join(dir, "flag"), "https://flag")
	fromEnv := kubeconfig(t, filepath.Join(dir, "env"), "https://env")
	data := filepath.Join(dir, "data")
	kubeconfig(t, cluster.EmbeddedKubeconfig(data), "https://up")
	home := filepath.Join(dir, "home")
	kubeconfig(t, filepath.Join(home, ".kube", "config"), "https://home")
	none := filepath.Join(dir, "none")
	for name, c := range map[string]struct {
		query          cluster.Query
		server, origin string
	}{
		"flag":     {cluster.Query{Kubeconfig: flag, DataDir: data, Env: env("KUBECONFIG", fromEnv, "HOME", home)}, "https://flag", "--kubeconfig " + flag},
		"variable": {cluster.Query{DataDir: data, Env: env("KUBECONFIG", fromEnv, "HOME", home)}, "https://env", "$KUBECONFIG"},
		"weir up":  {cluster.Query{DataDir: data, Env: env("HOME", home)}, "https://up", "weir up in " + data},
		"home":     {cluster.Query{DataDir: none, Env: env("HOME", home)}, "https://home", "~/.kube/config"},
		"a shell with a pod's variables": {
			cluster.Query{DataDir: none, Env: env("HOME", home, "KUBERNETES_SERVICE_HOST", "10.0.0.1", "KUBERNETES_SERVICE_PORT", "443")}, "https://home", "~/.kube/config",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := cluster.Find(c.query)
			if err != nil {
				t.Fatal(err)
			}
			if got.Server() != c.server || got.Origin != c.origin || got.Context != "main" || got.Namespace != "mine" {
				t.Errorf("got %s, namespace %s", got, got.Namespace)
			}
		})
	}
	if _, err := cluster.Find(cluster.Query{DataDir: none, Env: env()}); !errors.Is(err, cluster.ErrNone) {
		t.Errorf("got %v", err)
	}
}

// What may be written to must have been named for the purpose.
func TestNamedIgnoresWhatWasLeftOver(t *testing.T) {
	dir := t.TempDir()
	stray := kubeconfig(t, filepath.Join(dir, ".kube", "config"), "https://production")
	got, err := cluster.Named(cluster.Query{Env: env("KUBECONFIG", stray, "HOME", dir)})
	if err != nil || got != nil {
		t.Fatalf("took %v, %v", got, err)
	}
	got, err = cluster.Named(cluster.Query{Kubeconfig: stray, Context: "other", Env: env()})
	if err != nil || got == nil || got.Context != "other" || got.Namespace != "default" {
		t.Fatalf("got %v, %v", got, err)
	}
}

func TestKubeconfigsThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := kubeconfig(t, filepath.Join(dir, "good"), "https://good")
	for name, c := range map[string]struct {
		file, context, want string
	}{
		"missing":    {filepath.Join(dir, "nothing"), "", "names a file that does not exist: name another kubeconfig with --kubeconfig"},
		"no yaml":    {write("binary", "\x00\x01"), "", "is no kubeconfig"},
		"empty":      {write("empty", ""), "", "names no cluster"},
		"no context": {good, "prod", `has no context "prod": choose one with --context: main, other`},
		"no current": {write("nocurrent", `{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: "https://c"}}], contexts: [{name: only, context: {cluster: c, user: u}}]}`), "", "sets no current context: choose one with --context: only"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cluster.Find(cluster.Query{Kubeconfig: c.file, Context: c.context, Env: env()})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	objects, err := cluster.Decode("f.yaml", []byte("# head\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: a}\nspec: {replicas: 2}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range objects {
		names = append(names, cluster.Describe(o))
	}
	if got := strings.Join(names, ", "); got != "Namespace a, Deployment a/b" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"kind: Namespace\n", "a: b: c\n", "apiVersion: v1\nkind: Namespace\n"} {
		if _, err := cluster.Decode("f.yaml", []byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "f.yaml: ") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
