package kube_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// What others write in the pod stays, and a successor of the same name is not
// taken for the pod.
func TestRegistrationTouchesItsOwnPodOnly(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory", "weir-provider", "weir-consumer")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory", Annotations: map[string]string{"example.com/mine": "kept"}})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	cfg := inPod(t, n, "inventory", "inventory-0")
	cfg.Identity.Zone = "rack-7"
	hub := openHub(t, cfg)
	reg := registry.Registration{App: app, Metadata: map[string]string{"z": "<&>", "a": "1"}, Details: registry.Details{Tag: "gray"}}
	testkube.Eventually(t, "the role to count", func() error { return hub.Register(testkube.Context(t), reg) })
	pods := n.Cluster.Client.CoreV1().Pods(n.Name)
	pod, err := pods.Get(testkube.Context(t), "inventory-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"example.com/mine":      "kept",
		kube.AnnotationMetadata: `{"a":"1","z":"<&>"}`,
		kube.AnnotationInstance: `{"v":1,"app":"inventory","weight":100,"tag":"gray","zone":"rack-7","state":"up"}`,
	} {
		if got := pod.Annotations[key]; got != want {
			t.Errorf("annotation %s is %q, want %q", key, got, want)
		}
	}
	version := pod.ResourceVersion
	if err := hub.Register(testkube.Context(t), reg); err != nil {
		t.Fatal(err)
	}
	if pod, err = pods.Get(testkube.Context(t), "inventory-0", metav1.GetOptions{}); err != nil || pod.ResourceVersion != version {
		t.Fatalf("registering the same again wrote the pod (%v)", err)
	}
	n.Remove(t, "inventory-0")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
	reg.Metadata = map[string]string{"b": "2"}
	err = hub.Register(testkube.Context(t), reg)
	// Its token died with the pod; before that shows, the UID does not match.
	if code := registry.CodeOf(err); code != registry.NotFound && code != registry.Forbidden {
		t.Fatalf("registering in a successor: %v", err)
	}
	if pod, err = pods.Get(testkube.Context(t), "inventory-0", metav1.GetOptions{}); err != nil || pod.Annotations[kube.AnnotationMetadata] != "" {
		t.Fatalf("the successor was annotated: %v (%v)", pod.Annotations, err)
	}
}

// A change that is refused leaves the registration before it in force.
func TestARefusedChangeKeepsTheRegistration(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.ServiceAccount(t, "inventory", "weir-provider", "weir-consumer")
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	cfg := inPod(t, n, "inventory", "inventory-0")
	var refusing atomic.Bool
	cfg.REST = through(t, cfg.REST, func(w http.ResponseWriter, r *http.Request) bool {
		return refusing.Load() && r.Method == http.MethodPatch && refuse(w, http.StatusForbidden, metav1.StatusReasonForbidden, "not today")
	})
	hub := openHub(t, cfg)
	first := registry.Registration{App: app, Metadata: map[string]string{"a": "1"}}
	testkube.Eventually(t, "the role to count", func() error { return hub.Register(testkube.Context(t), first) })
	refusing.Store(true)
	err := hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{"a": "2"}})
	wantError(t, err, registry.Forbidden, "has no permission to patch its own annotation")
	refusing.Store(false)
	n.Annotate(t, "inventory-0", map[string]string{kube.AnnotationMetadata: ""})
	testkube.Eventually(t, "the first registration to be written again", func() error {
		pod, err := n.Cluster.Client.CoreV1().Pods(n.Name).Get(testkube.Context(t), "inventory-0", metav1.GetOptions{})
		if err == nil && pod.Annotations[kube.AnnotationMetadata] != `{"a":"1"}` {
			err = fmt.Errorf("annotations %v", pod.Annotations)
		}
		return err
	})
}

func TestMetadataLimits(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	hub := openHub(t, stranger(n, n.Cluster.REST()))
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	noise := make([]byte, 900_000)
	seed := uint32(1)
	for i := range noise {
		seed = seed*1664525 + 1013904223
		noise[i] = byte(seed >> 24)
	}
	wantError(t, hub.PutMetadata(testkube.Context(t), app, "r", noise), registry.Invalid, "registry: the metadata of revision r of "+app.String()+" has ")
	if err := hub.PutMetadata(testkube.Context(t), app, "r", noise[:700_000]); err != nil {
		t.Fatalf("a document under the limit: %v", err)
	}
	if got, err := hub.Metadata(testkube.Context(t), app, "r"); err != nil || !bytes.Equal(got, noise[:700_000]) {
		t.Fatalf("%d bytes came back (%v)", len(got), err)
	}
	big := registry.Registration{App: app, Metadata: map[string]string{"k": strings.Repeat("x", 300_000)}}
	in := openHub(t, kube.Config{REST: n.Cluster.REST(), Lazy: true, Identity: kube.Identity{Pod: "p", Namespace: n.Name}})
	wantError(t, in.Register(testkube.Context(t), big), registry.Invalid, "and an annotation holds ")
}
