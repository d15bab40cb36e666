package kube_test

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
)

// Governed is who asks for it by the annotation, live, and the snapshot says with
// what; a pod is told with what runs in it.
func TestWhoAsksToBeGovernedIsKnown(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "delivery", 20000)
	n.Service(t, "other", 20000)
	pod := n.Pod(t, "delivery", "delivery-0", testkube.Pod{})
	app := registry.App{Namespace: n.Name, Name: "delivery"}
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	w := watch(t, hub, app)
	w.await("nobody asking", func(s registry.Snapshot) bool { return s.Service.Host != "" && s.Service.Govern == nil })
	governed := func(want ...registry.App) {
		t.Helper()
		got, err := hub.Governed(testkube.Context(t))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("governed are %v, %v", got, err)
		}
	}
	governed()
	annotate := func(value string) {
		t.Helper()
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"weirmesh.io/govern":%q,"boot.spring.io/actuator":"http://:9090/manage"}}}`, value)
		_, err := n.Cluster.Client.CoreV1().Services(n.Name).Patch(testkube.Context(t), "delivery", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	annotate("true")
	w.await("one that asks", func(s registry.Snapshot) bool {
		return s.Service.Govern != nil && s.Service.Govern.Actuator == "http://:9090/manage"
	})
	governed(app)
	annotate("yes")
	w.await("one that asks no more", func(s registry.Snapshot) bool { return s.Service.Govern == nil })
	governed()
	got, err := hub.Pod(testkube.Context(t), n.Name, "delivery-0")
	if err != nil || got.ID != string(pod.UID) || len(got.Containers) == 0 || got.Containers[0].Image == "" {
		t.Errorf("the pod is %+v, %v", got, err)
	}
	if _, err := hub.Pod(testkube.Context(t), n.Name, "nobody"); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("of a pod that is not there: %v", err)
	}
}

// A ConfigMap gains a document, and loses it, and what others wrote into it stays.
func TestDocumentsOfAConfigMapAreKeptApart(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	maps := n.Cluster.Client.CoreV1().ConfigMaps(n.Name)
	ctx := testkube.Context(t)
	if _, err := hub.Config(ctx, n.Name, "delivery"); registry.CodeOf(err) != registry.NotFound {
		t.Fatalf("of one that is not there: %v", err)
	}
	const mine = "server.port: 8080\n"
	_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "delivery"}, Data: map[string]string{"application.yaml": mine}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	holds := func(written bool, want map[string]string) {
		t.Helper()
		got, err := hub.Config(ctx, n.Name, "delivery")
		if err != nil || !reflect.DeepEqual(got.Documents, want) || got.Written.IsZero() == written {
			t.Fatalf("it is %+v, %v", got, err)
		}
		id = got.ID
	}
	holds(false, map[string]string{"application.yaml": mine})
	for _, text := range []string{"a=b\n", "a=c\n"} {
		if err := hub.SetConfig(ctx, n.Name, "delivery", id, "application.properties", text); err != nil {
			t.Fatal(err)
		}
		holds(true, map[string]string{"application.yaml": mine, "application.properties": text})
	}
	patch := []byte(`{"data":{"application.yaml":"server.port: 8081\n"}}`)
	if _, err := maps.Patch(ctx, "delivery", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := hub.SetConfig(ctx, n.Name, "delivery", id, "application.properties", ""); err != nil {
		t.Fatal(err)
	}
	holds(true, map[string]string{"application.yaml": "server.port: 8081\n"})
}

// The Service says which ConfigMap it is.
func TestAConfigMapIsNamedByTheService(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "delivery", 20000)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "delivery"})
	for value, want := range map[string]string{"true": "delivery", "other": "other"} {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"weirmesh.io/govern":"true","weirmesh.io/config":%q}}}`, value)
		if _, err := n.Cluster.Client.CoreV1().Services(n.Name).Patch(testkube.Context(t), "delivery", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		w.await("ConfigMap "+want, func(s registry.Snapshot) bool { return s.Service.Govern != nil && s.Service.Govern.Config == want })
	}
}

// A ConfigMap of another namespace is not to be had by a name that leads there.
func TestNamesThatLeadToAnotherNamespaceAreRefused(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	n, other := c.Namespace(t), c.Namespace(t)
	n.Service(t, "delivery", 20000)
	ctx := testkube.Context(t)
	maps := c.Client.CoreV1().ConfigMaps(other.Name)
	secret := map[string]string{"application.yaml": "password: secret\n"}
	if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Data: secret}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	hub := openHub(t, stranger(n, c.REST()))
	w := watch(t, hub, registry.App{Namespace: n.Name, Name: "delivery"})
	for _, name := range []string{"../../" + other.Name + "/configmaps/x", "..", ".", "a/b", "A_b", "a%2fb"} {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"weirmesh.io/govern":"true","weirmesh.io/config":%q}}}`, name)
		if _, err := c.Client.CoreV1().Services(n.Name).Patch(ctx, "delivery", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		w.await("a problem with "+name, func(s registry.Snapshot) bool {
			return s.Service.Govern != nil && s.Service.Govern.Config == "" && strings.Contains(s.Service.Govern.Problem, strconv.Quote(name))
		})
	}
	for _, name := range []string{"../../" + other.Name + "/configmaps/x", "../configmaps/x", "..", ".", "a/b"} {
		if got, err := hub.Config(ctx, n.Name, name); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("ConfigMap %s is %+v, %v", name, got, err)
		}
		if err := hub.SetConfig(ctx, n.Name, name, "some", "application.properties", "a=b\n"); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("writing to ConfigMap %s: %v", name, err)
		}
		if _, err := hub.Config(ctx, name, "x"); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("ConfigMap of namespace %s: %v", name, err)
		}
		if _, err := hub.Pod(ctx, n.Name, name); registry.CodeOf(err) != registry.Invalid {
			t.Errorf("pod %s: %v", name, err)
		}
	}
	if got, err := maps.Get(ctx, "x", metav1.GetOptions{}); err != nil || !reflect.DeepEqual(got.Data, secret) {
		t.Errorf("the other namespace's ConfigMap is %+v, %v", got.Data, err)
	}
}

// Nothing is written once the ConfigMap that was read is gone, and none is made.
func TestAConfigMapThatIsGoneIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	maps := n.Cluster.Client.CoreV1().ConfigMaps(n.Name)
	ctx := testkube.Context(t)
	create := func() {
		t.Helper()
		if _, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "delivery"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create()
	before, err := hub.Config(ctx, n.Name, "delivery")
	if err != nil || before.ID == "" {
		t.Fatalf("it is %+v, %v", before, err)
	}
	if err := maps.Delete(ctx, "delivery", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	set := func(id string) error {
		return hub.SetConfig(ctx, n.Name, "delivery", id, "application.properties", "a=b\n")
	}
	if err := set(before.ID); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("once it is gone: %v", err)
	}
	if err := set(""); registry.CodeOf(err) != registry.Invalid {
		t.Errorf("one that nobody has read: %v", err)
	}
	if _, err := maps.Get(ctx, "delivery", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("it was made: %v", err)
	}
	create()
	if err := set(before.ID); registry.CodeOf(err) != registry.NotFound {
		t.Errorf("with another in its place: %v", err)
	}
	if now, err := hub.Config(ctx, n.Name, "delivery"); err != nil || len(now.Documents) != 0 || now.ID == before.ID {
		t.Errorf("the other is %+v, %v", now, err)
	}
}
