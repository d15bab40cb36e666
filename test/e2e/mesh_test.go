package e2e

import (
	"os"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/test/mesh"
)

// system is what the tests run on, with what they ask of it.
type system struct{ mesh.Mesh }

// theMesh is shared by the tests, which run one after another.
var theMesh = &system{}

func TestMain(m *testing.M) { os.Exit(mesh.Run("e2e", "../..", &theMesh.Mesh, m.Run)) }

// Client returns an administrator's client of the mesh's cluster.
func (m *system) Client(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	return kubernetes.NewForConfigOrDie(m.config(t))
}

// Resources is Client for what client-go knows no type of, as Weir's own objects.
func (m *system) Resources(t *testing.T) *dynamic.DynamicClient {
	t.Helper()
	return dynamic.NewForConfigOrDie(m.config(t))
}

func (m *system) config(t *testing.T) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", m.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	return cfg
}
