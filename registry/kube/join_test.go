package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/registry"
)

var update = flag.Bool("update", false, "write what the code does into the golden files")

// quietHub is a hub that hears nothing: its tables are fed by hand.
func quietHub(cfg Config) *Hub {
	cfg.Identity.Zone = "none" // keeps the environment out
	cfg = cfg.withDefaults()
	h := &Hub{
		clock: newClock(), ctx: context.Background(), probes: make(chan struct{}, probesAtOnce),
		dial:  func(context.Context, string) error { return nil },
		ended: func(context.Context, string) ([]string, error) { return nil, nil },
		cfg:   cfg, log: cfg.Logger, own: cfg.Identity.Namespace, base: []string{""},
		spaces: map[string]*space{}, statements: statements{},
		interfaces: map[registry.Interface]*followedInterface{}, endedOf: map[string]*endedQuestion{}, failures: map[string]int{}, signal: make(chan struct{}), linked: make(chan struct{}),
	}
	h.metrics, _ = newMetrics(h, nil)
	h.records = newRecords(h)
	return h
}

// feed gives an object to the table it belongs to.
func (h *Hub) feed(obj runtime.Object, gone bool, now time.Time) {
	s := h.spaceOf("")
	var t table
	switch o := obj.(type) {
	case *discoveryv1.EndpointSlice:
		t = sliceTable{s}
	case *metav1.PartialObjectMetadata:
		t = podTable{s}
	case *corev1.Service:
		t = serviceTable{s}
	case *discoveryPolicy:
		t = policyTable{s}
	default:
		panic(fmt.Sprintf("no table for %T", o))
	}
	key, kept := t.slim(obj)
	if gone {
		t.remove(key, now)
	} else {
		t.put(key, kept, now)
	}
}

// joinCase is the head of a case: whose snapshot, and as seen by whom.
type joinCase struct {
	App       string `json:"app"`
	Consumer  string `json:"consumer"`
	Namespace string `json:"namespace"`
}

// Each testdata/join/*.yaml is a cluster, after a head that says whose snapshot
// is wanted; beside it lies what that snapshot is, and what was logged. An
// object under the annotation test/deleted is fed, and then deleted.
func TestJoin(t *testing.T) {
	files, err := filepath.Glob("testdata/join/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			got := runJoin(t, file)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got:\n%s\nwant (%s):\n%s", got, golden, want)
			}
		})
	}
}

func runJoin(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs := strings.Split(string(content), "\n---\n")
	var head joinCase
	if err := yaml.UnmarshalStrict([]byte(docs[0]), &head); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h := quietHub(Config{
		App: head.Consumer, Identity: Identity{Namespace: head.Namespace},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, doc := range docs[1:] {
		obj, deleted := readObject(t, doc)
		h.feed(obj, false, now)
		if deleted {
			h.feed(obj, true, now)
		}
	}
	name, err := registry.ParseApp(head.App, "default")
	if err != nil {
		t.Fatal(err)
	}
	a := h.spaceOf("").apps[name]
	if a == nil {
		a = &app{name: name, space: h.spaceOf(""), changed: now}
	}
	a.settle(now)
	mode, from := h.mode(a)
	snapshot := join(a, mode, now)
	snapshot.ModeFrom = from
	text, err := json.MarshalIndent(snapshot, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.NewBuffer(text)
	out.WriteByte('\n')
	for i := range snapshot.Instances {
		instance := &snapshot.Instances[i]
		why := instance.Why()
		if why == "" {
			why = "callable"
		}
		fmt.Fprintf(out, "%s: %s\n", instance.Name, why)
	}
	out.Write(log.Bytes())
	return out.Bytes()
}

func readObject(t *testing.T, doc string) (obj runtime.Object, deleted bool) {
	t.Helper()
	var head metav1.PartialObjectMetadata
	if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	switch head.Kind {
	case "EndpointSlice":
		obj = &discoveryv1.EndpointSlice{}
	case "Service":
		obj = &corev1.Service{}
	case "DiscoveryPolicy":
		obj = &discoveryPolicy{}
	case "Pod":
		obj = &metav1.PartialObjectMetadata{} // as the server strips it
	default:
		t.Fatalf("no case may hold a %q", head.Kind)
	}
	if err := yaml.Unmarshal([]byte(doc), obj); err != nil {
		t.Fatalf("%v in:\n%s", err, doc)
	}
	return obj, head.Annotations["test/deleted"] != ""
}

// A slice holds at most 100 endpoints by default, so a large application has many.
func TestJoinOfManySlices(t *testing.T) {
	h := quietHub(Config{})
	h.mu.Lock() // as whoever feeds tables must, while timers run
	defer h.mu.Unlock()
	now := time.Now()
	app := registry.App{Namespace: "shop", Name: "inventory"}
	h.feed(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "inventory"}}, false, now)
	for i := range 12 {
		h.feed(bigSlice(i, 100), false, now)
	}
	for i := range 1200 {
		h.feed(bigPod(i), false, now)
	}
	a := h.spaceOf("").apps[app]
	want := func(when string) {
		t.Helper()
		a.settle(now)
		if s := join(a, registry.ModePod, now); len(s.Instances) != 1200 || len(s.Callable()) != 1200 {
			t.Fatalf("%s: %d instances, %d of them callable; want 1200", when, len(s.Instances), len(s.Callable()))
		}
	}
	want("at first")
	// The cluster moves half of a slice to a new one. Whichever it writes first,
	// nobody is missed and nobody is there twice.
	moved := bigSlice(11, 100)
	moved.Name = "inventory-12"
	moved.Endpoints = moved.Endpoints[50:]
	h.feed(bigSlice(11, 50), false, now)
	want("taken out first")
	h.feed(moved, false, now)
	want("put back")
	if len(a.lost) != 0 {
		t.Fatalf("%d endpoints still linger after the move", len(a.lost))
	}
	h.feed(bigSlice(11, 100), false, now)
	want("in both slices")
	h.feed(moved, true, now)
	want("moved back")
}

// What left its slice while its pod lives is let go when the grace is over, when
// the pod goes, and when the Service does.
func TestLingeringEnds(t *testing.T) {
	now := time.Now()
	app := registry.App{Namespace: "shop", Name: "inventory"}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "inventory"}}
	for what, end := range map[string]func(h *Hub) time.Time{
		"the grace is over": func(h *Hub) time.Time { return now.Add(h.cfg.Grace) },
		"the pod goes":      func(h *Hub) time.Time { h.feed(bigPod(0), true, now); return now },
		"the Service goes":  func(h *Hub) time.Time { h.feed(service, true, now); return now },
		"the pod terminates": func(h *Hub) time.Time {
			pod := bigPod(0)
			pod.DeletionTimestamp = &metav1.Time{Time: now}
			h.feed(pod, false, now)
			return now
		},
		"the instance drains": func(h *Hub) time.Time {
			pod := bigPod(0)
			pod.Annotations[AnnotationInstance] = `{"v":1,"app":"inventory","state":"draining"}`
			h.feed(pod, false, now)
			return now
		},
	} {
		t.Run(what, func(t *testing.T) {
			h := quietHub(Config{Protection: Protection{Disabled: true}})
			h.mu.Lock() // as whoever feeds tables must, while timers run
			defer h.mu.Unlock()
			h.feed(service, false, now)
			h.feed(bigPod(0), false, now)
			h.feed(bigSlice(0, 1), false, now)
			h.feed(bigSlice(0, 0), false, now)
			a := h.spaceOf("").apps[app]
			if due := a.settle(now); !due.Equal(now.Add(h.cfg.Grace)) {
				t.Fatalf("grace ends at %v, want %v", due, now.Add(h.cfg.Grace))
			}
			if s := join(a, "", now); len(s.Callable()) != 1 {
				t.Fatalf("nothing proves that the instance is gone, but: %+v", s.Instances)
			}
			later := end(h)
			a.settle(later)
			if s := join(a, "", later); len(s.Instances) != 0 || len(a.lost) != 0 {
				t.Fatalf("still there: %+v", s.Instances)
			}
		})
	}
}

// Nothing is kept of what is gone.
func TestNothingIsLeftBehind(t *testing.T) {
	h := quietHub(Config{})
	h.mu.Lock() // as whoever feeds tables must, while timers run
	defer h.mu.Unlock()
	now := time.Now()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "inventory"}}
	h.feed(service, false, now)
	for i := range 300 {
		h.feed(bigPod(i), false, now)
	}
	for i := range 3 {
		h.feed(bigSlice(i, 100), false, now)
	}
	for i := range 300 {
		h.feed(bigPod(i), true, now)
	}
	for i := range 3 {
		h.feed(bigSlice(i, 100), true, now)
	}
	h.feed(service, true, now)
	s := h.spaceOf("")
	if len(s.apps)+len(s.pods)+len(s.slices)+len(h.statements) != 0 {
		t.Fatalf("left: %d apps, %d pods, %d slices, %d statements", len(s.apps), len(s.pods), len(s.slices), len(h.statements))
	}
}

func bigSlice(number, size int) *discoveryv1.EndpointSlice {
	yes, node, zone := true, fmt.Sprintf("node-%d", number%25), "zone-a"
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: fmt.Sprintf("inventory-%d", number),
			Labels: map[string]string{discoveryv1.LabelServiceName: "inventory"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for i := range size {
		n := number*100 + i
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes},
			TargetRef: &corev1.ObjectReference{
				Kind: "Pod", Namespace: "shop", Name: bigPodName(n), UID: types.UID(bigPodUID(n)),
			},
			NodeName: &node, Zone: &zone,
		})
	}
	return s
}

func bigPodName(n int) string { return fmt.Sprintf("inventory-7d9f8b6c5d-%05d", n) }
func bigPodUID(n int) string  { return fmt.Sprintf("0f3c2b1a-7e5d-4c6b-9a8f-%012d", n) }

func bigPod(n int) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: bigPodName(n), UID: types.UID(bigPodUID(n)),
		Annotations: map[string]string{
			AnnotationMetadata: `{"dubbo.endpoints":"[{\"port\":20000,\"protocol\":\"tri\"}]","dubbo.metadata-service.url-params":"{\"version\":\"1.0.0\",\"release\":\"3.3.2\",\"side\":\"provider\",\"port\":\"20001\",\"protocol\":\"tri\"}","dubbo.metadata.revision":"5f1c1f0e","dubbo.metadata.storage-type":"local","meta-v":"2.0.0"}`,
			AnnotationInstance: fmt.Sprintf(`{"v":1,"app":"inventory","weight":100,"state":"up","startTime":"2026-11-20T09:%02d:%02d.%06dZ"}`, n/60%60, n%60, n),
		},
	}}
}

func serviceNamed(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}
