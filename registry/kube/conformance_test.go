package kube_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/registry/registrytest"
)

func TestMain(m *testing.M) { testkube.Main(m) }

func TestConformance(t *testing.T) {
	cluster := testkube.Start(t)
	registrytest.Run(t, func(t *testing.T) *registrytest.Backend {
		return newBackend(t, cluster.Namespace(t))
	}, registrytest.Options{})
}

// openHub opens a hub that ends with the test.
func openHub(t testing.TB, cfg kube.Config) *kube.Hub {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	hub, err := kube.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	return hub
}

type testWriter struct{ testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.Helper()
	w.Logf("%s", p)
	return len(p), nil
}

// stranger is a process that is not in a pod.
func stranger(n *testkube.Namespace, cfg *rest.Config) kube.Config {
	return kube.Config{REST: cfg, Namespaces: []string{n.Name}, Identity: kube.Identity{Namespace: n.Name}}
}

// inPod is a process in a pod, with the token of its account.
func inPod(t testing.TB, n *testkube.Namespace, account, pod string) kube.Config {
	t.Helper()
	p, err := n.Cluster.Client.CoreV1().Pods(n.Name).Get(testkube.Context(t), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return kube.Config{
		REST:       n.As(t, account, p),
		Namespaces: []string{n.Name},
		Identity:   kube.Identity{Pod: pod, Namespace: n.Name, UID: string(p.UID)},
	}
}

func newBackend(t *testing.T, n *testkube.Namespace) *registrytest.Backend {
	cluster := n.Cluster
	admin := func() *rest.Config { return cluster.REST() }
	return &registrytest.Backend{
		Namespace: n.Name,
		Open:      func(t *testing.T) registrytest.Client { return openHub(t, stranger(n, admin())) },
		Process: func(t *testing.T, app registry.App, instance string) registrytest.Client {
			n.ServiceAccount(t, app.Name, "weir-provider", "weir-consumer")
			return openHub(t, inPod(t, n, app.Name, instance))
		},
		Offline: func(t *testing.T) registrytest.Client {
			cfg := admin()
			proxyTo(t, cfg).cut()
			return openHub(t, stranger(n, cfg))
		},
		Refused: func(t *testing.T, app registry.App, instance string) registrytest.Client {
			return openHub(t, inPod(t, n, app.Name, instance))
		},
		Cut: func(t *testing.T) (registrytest.Client, func(), func()) {
			cfg := admin()
			p := proxyTo(t, cfg)
			return openHub(t, stranger(n, cfg)), p.cut, p.restore
		},
		PutService: func(t *testing.T, app registry.App, port uint16) { n.Service(t, app.Name, int32(port)) },
		SetMode: func(t *testing.T, app registry.App, mode registry.Mode) {
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, kube.AnnotationCallMode, mode)
			_, err := cluster.Client.CoreV1().Services(n.Name).Patch(testkube.Context(t), app.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
		},
		PutInstance: func(t *testing.T, app registry.App, name string) string {
			n.ServiceAccount(t, app.Name)
			pod := n.Pod(t, app.Name, name, testkube.Pod{ServiceAccount: app.Name})
			n.AwaitEndpoint(t, app.Name, name, true)
			return string(pod.UID)
		},
		SetReady: func(t *testing.T, app registry.App, name string, ready bool) {
			n.SetReady(t, name, ready)
			n.AwaitEndpoint(t, app.Name, name, ready)
		},
		RemoveInstance: func(t *testing.T, app registry.App, name string) { n.Remove(t, name) },
		Disturb: func(t *testing.T, app registry.App, name string) {
			n.Annotate(t, name, map[string]string{"example.com/irrelevant": time.Now().String()})
		},
		Forget: func(t *testing.T, app registry.App, name string) {
			n.Annotate(t, name, map[string]string{kube.AnnotationMetadata: "", kube.AnnotationInstance: ""})
		},
	}
}
