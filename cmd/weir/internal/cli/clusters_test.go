package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/cmd/weir/internal/cli"
	"github.com/weirmesh/weir/internal/testkube"
)

// Two contexts of one kubeconfig are two clusters to look at; that they lead to the
// same API server here does not matter.
func TestRegistryLooksAtSeveralClusters(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	ns.Pod(t, "inventory", "inventory-a", testkube.Pod{Annotations: metadata("20000")})
	ns.AwaitEndpoint(t, "inventory", "inventory-a", true)
	cfg, err := clientcmd.LoadFromFile(kube.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"east", "west"} {
		cfg.Contexts[name] = cfg.Contexts[cfg.CurrentContext].DeepCopy()
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	app := ns.Name + "/inventory"
	ask := func(more ...string) (int, string, string) {
		return do(t, nil, append([]string{"registry", "get", app, "--kubeconfig", file, "--context", "east"}, more...)...)
	}
	code, out, errs := ask("--cluster-name", "east", "--clusters", "west")
	for _, want := range []string{"1 of 2 callable", "cluster    east", "cluster    west", "those of cluster east are called in its place"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, %q is missing in\n%s%s", code, want, out, errs)
		}
	}
	if code, out, errs = ask("--clusters", "north=east,west"); code != 0 || !strings.Contains(out, "1 of 3 callable") || !strings.Contains(out, "cluster    home") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	// In a list, and one alone.
	list := func(more ...string) (int, string, string) {
		return do(t, nil, append([]string{"registry", "list", "-n", ns.Name, "--kubeconfig", file, "--context", "east", "--cluster-name", "east"}, more...)...)
	}
	if code, out, errs = list("--clusters", "west"); code != 0 || !strings.Contains(out, "CLUSTERS") || !strings.Contains(out, "east 1 of 1, west 0 of 1 (1 stands by)") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs = list("--clusters", "west", "--cluster", "west"); code != 0 || !strings.Contains(out, "west 1 of 1") || strings.Contains(out, "east") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs = list(); code != 0 || strings.Contains(out, "CLUSTER") || strings.Contains(out, "east") {
		t.Errorf("of a single one: %d\n%s%s", code, out, errs)
	}
	for _, wrong := range [][]string{{"--clusters", "west", "--cluster", "north"}, {"--cluster", "west"}} {
		if code, out, errs = list(wrong...); code != cli.ExitUsage || !strings.Contains(errs, "--cluster ") {
			t.Errorf("%v: %d\n%s%s", wrong, code, out, errs)
		}
	}
	if code, out, errs = do(t, nil, "explain", "instance", app+"/inventory-a", "--kubeconfig", file, "--context", "east", "--clusters", "west", "--cluster", "west"); code != 0 || !strings.Contains(out, "inventory-a") {
		t.Errorf("explained: %d\n%s%s", code, out, errs)
	}
	for clusters, want := range map[string]string{"south": `has no context "south"`, "west=": "names no cluster: write it like west=CONTEXT", "west=" + file + ".not:west": "does not exist"} {
		if code, out, errs = ask("--clusters", clusters); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("--clusters %s: %d, want %q\n%s%s", clusters, code, want, out, errs)
		}
	}
}
