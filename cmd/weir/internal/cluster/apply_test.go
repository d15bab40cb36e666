package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/testkube"
)

func TestMain(m *testing.M) { testkube.Main(m) }

func connect(t *testing.T, file string) *cluster.Client {
	t.Helper()
	target, err := cluster.FromFile(file, "the test's cluster")
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Connect(target)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is applied twice is there once; what somebody else set stays.
func TestApply(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	c := connect(t, kube.Kubeconfig)
	ctx := testkube.Context(t)
	yaml := `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: ` + ns.Name + `}
data: {colour: red}
`
	objects, err := cluster.Decode("test", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(ctx, objects); err != nil {
		t.Fatal(err)
	}
	maps := kube.Client.CoreV1().ConfigMaps(ns.Name)
	m, err := maps.Get(ctx, "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.Data["colour"], m.Data["size"] = "blue", "large"
	if _, err := maps.Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(ctx, objects); err != nil {
		t.Fatal(err)
	}
	m, err = maps.Get(ctx, "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.Data["colour"] != "red" || m.Data["size"] != "large" {
		t.Errorf("got %v", m.Data)
	}
}

// Objects of a kind can be applied right after its definition.
func TestApplyWaitsForDefinitions(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	c := connect(t, kube.Kubeconfig)
	group := strings.ReplaceAll(ns.Name, "-", "") + ".test.example"
	yaml := `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: GROUP/v1
kind: Gadget
metadata: {name: one, namespace: NS}
`
	objects, err := cluster.Decode("test", []byte(strings.NewReplacer("GROUP", group, "NS", ns.Name).Replace(yaml)))
	if err != nil {
		t.Fatal(err)
	}
	ctx := testkube.Context(t)
	gadgets := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "gadgets"}
	if served, err := c.Serves(ctx, gadgets); err != nil || served {
		t.Fatalf("served before it was defined: %v, %v", served, err)
	}
	if err := c.Apply(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if served, err := c.Serves(ctx, gadgets); err != nil || !served {
		t.Errorf("served: %v, %v", served, err)
	}
	if _, found, err := c.Get(ctx, objects[1]); err != nil || !found {
		t.Errorf("found: %v, %v", found, err)
	}
}

func TestSentencesOfFailure(t *testing.T) {
	kube := testkube.Start(t)
	ctx := testkube.Context(t)
	// The same cluster through broken kubeconfigs.
	broken := func(change func(string) string) string {
		raw, err := os.ReadFile(kube.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(path, []byte(change(string(raw))), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stranger := func() string {
		config, err := clientcmd.LoadFromFile(kube.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range config.AuthInfos {
			user.ClientCertificateData, user.ClientKeyData, user.Token = nil, nil, "wrong"
		}
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := clientcmd.WriteToFile(*config, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	noCA := func() string {
		config, err := clientcmd.LoadFromFile(kube.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range config.Clusters {
			c.CertificateAuthorityData = nil
		}
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := clientcmd.WriteToFile(*config, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ file, want string }{
		"nobody there": {broken(func(s string) string {
			return strings.ReplaceAll(s, connect(t, kube.Kubeconfig).Target().Server(), "https://127.0.0.1:1")
		}), "the test's cluster): connect: connection refused; start the cluster, or name another with --kubeconfig"},
		"wrong token": {stranger(), "does not accept the credentials: renew them, or name another kubeconfig with --kubeconfig"},
		"wrong CA":    {noCA(), "is not the one that the kubeconfig expects"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := connect(t, c.file).Version(ctx)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestPods(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ns.Pod(t, "orders", "orders-1", testkube.Pod{})
	ns.Pod(t, "orders", "orders-2", testkube.Pod{NotReady: true})
	ns.Pod(t, "other", "other-1", testkube.Pod{})
	objects, err := cluster.Decode("test", []byte(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: `+ns.Name+`}
spec: {selector: {matchLabels: {app: orders}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	pods, err := connect(t, kube.Kubeconfig).Pods(testkube.Context(t), objects[0])
	if err != nil {
		t.Fatal(err)
	}
	ready := 0
	for _, p := range pods {
		if p.Ready {
			ready++
		}
	}
	if len(pods) != 2 || ready != 1 {
		t.Errorf("got %+v", pods)
	}
}
