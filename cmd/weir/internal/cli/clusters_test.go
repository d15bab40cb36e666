package cli_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/cmd/weir/internal/cli"
	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
	registrykube "github.com/weirmesh/weir/registry/kube"
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
	// Revisions are each cluster's own.
	hub, err := registrykube.Open(t.Context(), registrykube.Config{Kubeconfig: kube.Kubeconfig, Namespaces: []string{ns.Name}})
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	if err := hub.PutMetadata(t.Context(), registry.App{Namespace: ns.Name, Name: "inventory"}, "r1", []byte(`{"services":{}}`)); err != nil {
		t.Fatal(err)
	}
	revisions := func(more ...string) (int, string, string) {
		return do(t, nil, append([]string{"registry", "revisions", "-n", ns.Name, "--kubeconfig", file, "--context", "east", "--cluster-name", "east", "--clusters", "west"}, more...)...)
	}
	if code, out, errs := revisions(); code != 0 || !strings.Contains(out, "CLUSTER ") || !strings.Contains(out, "\neast ") || !strings.Contains(out, "\nwest ") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	if code, out, errs := revisions("--cluster", "west"); code != 0 || strings.Contains(out, "\neast ") || !strings.Contains(out, "\nwest ") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	for clusters, want := range map[string]string{"south": `has no context "south"`, "west=": "names no cluster: write it like west=CONTEXT", "west=" + file + ".not:west": "does not exist"} {
		if code, out, errs = ask("--clusters", clusters); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("--clusters %s: %d, want %q\n%s%s", clusters, code, want, out, errs)
		}
	}
}

// An instance that stands by for those of a nearer cluster is one that consumers on
// Kubernetes can call. In one cluster alone nothing stands by.
func TestRegistryDiffOfSeveralClusters(t *testing.T) {
	kube, server := testkube.Start(t), testzk.StartOwn(t)
	z := dialZooKeeper(t, server)
	ns := kube.Namespace(t)
	ns.Service(t, "inventory", 20000)
	pod := testkube.Pod{Annotations: metadata("20000"), IP: testkube.NextIP()}
	ns.Pod(t, "inventory", "inventory-a", pod)
	ns.AwaitEndpoint(t, "inventory", "inventory-a", true)
	root := server.Root(t)
	z.put(root+"/org.example.Stock/providers/"+url.QueryEscape("dubbo://"+pod.IP.String()+":20000/org.example.Stock?application=inventory&interface=org.example.Stock"), "")
	cfg, err := clientcmd.LoadFromFile(kube.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Contexts["west"] = cfg.Contexts[cfg.CurrentContext].DeepCopy()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string][]string{"both": {}, "the second alone": {"--cluster", "west"}} {
		args := []string{"registry", "diff", ns.Name + "/inventory", "--addresses", "--kubeconfig", file, "--clusters", "west", "--zookeeper", server.Address(), "--zookeeper-interfaces", root}
		if code, out, errs := do(t, nil, append(args, more...)...); code != 0 || !strings.Contains(out, "1 address") || !strings.Contains(out, "unproven") {
			t.Errorf("%s: %d\n%s%s", name, code, out, errs)
		}
	}
}
