package kube_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// wantError holds an error to its code and its very words.
func wantError(t *testing.T, err error, code registry.Code, words string) {
	t.Helper()
	if registry.CodeOf(err) != code {
		t.Fatalf("error %v has code %q, want %q", err, registry.CodeOf(err), code)
	}
	if !strings.Contains(err.Error(), words) {
		t.Fatalf("error says\n  %s\nwant\n  %s", err, words)
	}
}

func brief(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSentencesOfMissingRights(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory")
	pod := n.Pod(t, "inventory", "inventory-7d9", testkube.Pod{ServiceAccount: "inventory"})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	iface := registry.Interface{Name: "org.example.InventoryService"}
	cfg := inPod(t, n, "inventory", pod.Name)
	cfg.MaxBackoff = 100 * time.Millisecond
	hub := openHub(t, cfg)

	_, err := hub.Snapshot(testkube.Context(t), app)
	wantError(t, err, registry.Forbidden, "registry: ServiceAccount "+n.Name+"/inventory may not list ")
	wantError(t, err, registry.Forbidden, " in namespace "+n.Name+"; bind ClusterRole weir-consumer to it (docs/registry.md#rbac)")
	_, err = hub.InterfaceApps(testkube.Context(t), iface)
	wantError(t, err, registry.Forbidden, "registry: ServiceAccount "+n.Name+"/inventory may not list interfacemappings in namespace "+
		n.Name+"; bind ClusterRole weir-consumer to it (docs/registry.md#rbac)")
	err = hub.Register(testkube.Context(t), registry.Registration{App: app})
	wantError(t, err, registry.Forbidden, "registry: pod "+n.Name+"/inventory-7d9 has no permission to read its own labels; bind ClusterRole weir-provider to ServiceAccount "+
		n.Name+"/inventory (docs/registry.md#rbac)")
	err = hub.MapInterface(testkube.Context(t), iface, app)
	wantError(t, err, registry.Forbidden, "registry: ServiceAccount "+n.Name+"/inventory may not patch interfacemappings ")
	wantError(t, err, registry.Forbidden, "; bind ClusterRole weir-provider to it (docs/registry.md#rbac)")
	_, err = hub.Metadata(testkube.Context(t), app, "5f1c")
	wantError(t, err, registry.Forbidden, "bind ClusterRole weir-consumer to it")

	// Reading alone is not enough to register.
	n.Bind(t, "inventory", "ClusterRole", "view")
	testkube.Eventually(t, "the sentence about patching", func() error {
		err = hub.Register(testkube.Context(t), registry.Registration{App: app})
		if err != nil && strings.Contains(err.Error(), "labels") {
			return err
		}
		return nil
	})
	wantError(t, err, registry.Forbidden, "registry: pod "+n.Name+"/inventory-7d9 has no permission to patch its own annotation; bind ClusterRole weir-provider to ServiceAccount "+
		n.Name+"/inventory (docs/registry.md#rbac)")

	// Doing what the sentences say mends it, without a restart.
	r := make(chan registry.Snapshot, 64)
	stop, err := hub.Subscribe(app, func(s registry.Snapshot) { r <- s })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	n.ServiceAccount(t, "inventory", "weir-consumer", "weir-provider")
	testkube.Eventually(t, "registration with the right", func() error {
		return hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{"k": "v"}})
	})
	late := time.After(testkube.Deadline)
	for {
		select {
		case s := <-r:
			if len(s.Instances) == 1 && s.Instances[0].Registered() {
				return
			}
		case <-late:
			t.Fatal("the subscription did not come to life when the right was granted")
		}
	}
}

func TestSentencesOfProviders(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "inventory", "weir-provider")
	pod := n.Pod(t, "inventory", "inventory-7d9", testkube.Pod{ServiceAccount: "inventory"})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	hub := openHub(t, inPod(t, n, "inventory", pod.Name))
	register := func(name string) error {
		return hub.Register(testkube.Context(t), registry.Registration{App: registry.App{Namespace: n.Name, Name: name}})
	}
	testkube.Eventually(t, "the role to count", func() error {
		if err := register("inventory"); registry.CodeOf(err) == registry.Forbidden {
			return err
		}
		return nil
	})
	wantError(t, register("inventory"), registry.NotFound, "registry: application "+app.String()+" has no Service, so nobody can find pod inventory-7d9; "+
		"make a Service inventory in namespace "+n.Name+" that selects the pod, or name the application like the Service that does (docs/registry.md#service)")
	n.Service(t, "stock", 1, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "stock"} })
	wantError(t, register("stock"), registry.NotFound, "registry: Service "+n.Name+"/stock selects other pods: it wants label app=stock, and pod inventory-7d9 has app=inventory; "+
		"correct the pod template or the selector")
	n.Service(t, "tiered", 1, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"tier": "back"} })
	wantError(t, register("tiered"), registry.NotFound, "it wants label tier=back, and pod inventory-7d9 has no such label; add the label")
	n.Service(t, "by-hand", 1, func(s *corev1.Service) { s.Spec.Selector = nil })
	wantError(t, register("by-hand"), registry.NotFound, "registry: Service "+n.Name+"/by-hand selects no pods")

	n.Service(t, "inventory", 20000)
	if err := register("inventory"); err != nil {
		t.Fatal(err)
	}
	n.Service(t, "alias", 20000, func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "inventory"} })
	wantError(t, register("alias"), registry.Conflict, "registry: pod "+n.Name+"/inventory-7d9 is registered as "+app.String()+" already, and a pod is one application; "+
		"unregister it first, or run "+n.Name+"/alias in a pod of its own")
	elsewhere := hub.Register(testkube.Context(t), registry.Registration{App: registry.App{Namespace: "elsewhere", Name: "inventory"}})
	wantError(t, elsewhere, registry.Invalid, "registry: cannot register elsewhere/inventory: pod inventory-7d9 lives in namespace "+n.Name)

	outside := openHub(t, stranger(n, n.Cluster.REST()))
	wantError(t, outside.Register(testkube.Context(t), registry.Registration{App: app}), registry.NotFound,
		"registry: cannot register "+app.String()+": this process does not know which pod it runs in; in a pod, set POD_NAME and POD_NAMESPACE from the downward API; "+
			"outside Kubernetes, leave the registry out and use direct URLs")
	lost := openHub(t, kube.Config{REST: n.Cluster.REST(), Lazy: true, Identity: kube.Identity{Pod: "nowhere", Namespace: n.Name}})
	wantError(t, lost.Register(testkube.Context(t), registry.Registration{App: app}), registry.NotFound,
		"registry: there is no pod nowhere in namespace "+n.Name+"; set POD_NAME and POD_NAMESPACE from the downward API")
	successor := openHub(t, kube.Config{REST: n.Cluster.REST(), Lazy: true, Identity: kube.Identity{Pod: pod.Name, Namespace: n.Name, UID: "of-the-one-before"}})
	wantError(t, successor.Register(testkube.Context(t), registry.Registration{App: app}), registry.NotFound,
		"registry: pod "+n.Name+"/inventory-7d9 is gone from the cluster, or another has taken its name")
}

func TestSentencesOfKubeconfigs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none := filepath.Join(dir, "none")
	broken, empty := write("broken", "{clusters: ["), write("empty", "")
	other := write("other", "apiVersion: v1\nkind: Config\ncurrent-context: gone\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"+
		"users: [{name: u, user: {}}]\ncontexts: [{name: staging, context: {cluster: c, user: u}}, {name: live, context: {cluster: c, user: u}}]\n")
	noFile := write("nofile", "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: none.crt}}]\n"+
		"users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n")
	for _, c := range []struct {
		cfg   kube.Config
		env   string
		words string
	}{
		{kube.Config{Kubeconfig: none}, "", "registry: kubeconfig " + none + " does not exist; name the file of a running cluster"},
		{kube.Config{Kubeconfig: broken}, "", "registry: kubeconfig " + broken + " cannot be read: "},
		{kube.Config{Kubeconfig: empty}, "", "registry: kubeconfig " + empty + " names no cluster; name the file of a running cluster"},
		{kube.Config{}, empty, "registry: kubeconfig " + empty + " (from KUBECONFIG) names no cluster"},
		{kube.Config{Kubeconfig: other}, "", "registry: kubeconfig " + other + ` has no context "gone"; choose one of: live, staging`},
		{kube.Config{Kubeconfig: other, Context: "prod"}, "", "registry: kubeconfig " + other + ` has no context "prod"; choose one of: live, staging`},
		{kube.Config{Kubeconfig: noFile}, "", "registry: kubeconfig " + noFile + " cannot be used: "},
		{kube.Config{}, "", "registry: no Kubernetes cluster is named, and this process is not in one; give a kubeconfig or set KUBECONFIG"},
		{kube.Config{Namespaces: []string{"Shop"}}, "", `registry: namespace "Shop" holds 'S'`},
		{kube.Config{REST: &rest.Config{}, Kubeconfig: other}, "", "registry: a REST config and a kubeconfig exclude one another"},
	} {
		t.Setenv("KUBECONFIG", c.env)
		t.Setenv("KUBERNETES_SERVICE_HOST", "")
		_, err := kube.Open(t.Context(), c.cfg)
		wantError(t, err, registry.Invalid, c.words)
	}
}

func TestSentencesOfServers(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secret := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secret.Close)
	cluster := testkube.Start(t)
	stranger := cluster.REST()
	stranger.CertData, stranger.KeyData, stranger.CertFile, stranger.KeyFile = nil, nil, "", ""
	stranger.BearerToken = "nonsense"
	foreign := cluster.REST()
	foreign.CAFile, foreign.CAData = "", secretCA(secret)
	app := registry.App{Namespace: "shop", Name: "inventory"}
	for _, c := range []struct {
		name  string
		cfg   *rest.Config
		code  registry.Code
		words string
	}{
		{"nobody", &rest.Config{Host: "https://" + nobody}, registry.Unavailable, "cannot reach the Kubernetes API server at https://" + nobody + ": connect: connection refused; check that it runs and that "},
		{"silence", &rest.Config{Host: "https://" + silent.Addr().String()}, registry.Unavailable, "nothing is known yet of application shop/inventory: the API server at https://" + silent.Addr().String() + " has not answered yet: "},
		{"no TLS", &rest.Config{Host: "https://" + plain.Listener.Addr().String()}, registry.Unavailable, "HTTP"},
		{"not Kubernetes", &rest.Config{Host: plain.URL}, registry.Unavailable, "what answers at " + plain.URL + " does not serve "},
		{"no such host", &rest.Config{Host: "https://none.invalid"}, registry.Unavailable, "none.invalid"},
		{"another cluster's authority", foreign, registry.Unavailable, "the certificate of the API server at " + foreign.Host + " is not what "},
		{"unknown credentials", stranger, registry.Forbidden, "registry: the API server at " + stranger.Host + " does not accept the credentials of "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := kube.Config{REST: c.cfg, Namespaces: []string{"shop"}, Identity: kube.Identity{Namespace: "shop"}}
			if c.code == registry.Forbidden {
				cfg.MaxBackoff = 50 * time.Millisecond // to be sure, it is asked for five times this
			}
			hub := openHub(t, cfg)
			_, err := hub.Snapshot(brief(t), app)
			wantError(t, err, c.code, c.words)
			if err := hub.WaitSynced(brief(t)); registry.CodeOf(err) != c.code {
				t.Fatalf("WaitSynced: %v", err)
			}
		})
	}
}
