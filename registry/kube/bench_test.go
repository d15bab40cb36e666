package kube

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weirmesh/weir/registry"
)

// maxCachedBytes is what one cached instance may cost beyond the snapshots that are
// built of it, in applications of 25; a Pod object as client-go caches it costs
// 12.7 KB.
const maxCachedBytes = 300

// fill caches count instances of so many applications, as a cluster would: each
// application has a Service and a revision of its own.
func fill(h *Hub, count, apps int) {
	now := time.Now()
	for i := range apps {
		name := fmt.Sprintf("app-%03d", i)
		service := serviceNamed(name)
		service.Spec.Selector = map[string]string{"app": name}
		service.Spec.Ports = []corev1.ServicePort{{Name: "tri", Port: 20000, TargetPort: intstr.FromInt32(20000)}}
		h.feed(service, false, now)
	}
	slices := make([]*discoveryv1.EndpointSlice, apps)
	for i := range slices {
		slices[i] = bigSlice(0, 0)
		slices[i].Name = fmt.Sprintf("app-%03d-x7k2p", i)
		slices[i].Labels = map[string]string{discoveryv1.LabelServiceName: fmt.Sprintf("app-%03d", i)}
		port, protocol := int32(20000), "tri"
		slices[i].Ports = []discoveryv1.EndpointPort{{Name: &protocol, Port: &port}}
	}
	for n := range count {
		app := n % apps
		pod := bigPod(n)
		pod.Name = fmt.Sprintf("app-%03d-7d9c5b8f6d-%05d", app, n)
		pod.Annotations[AnnotationMetadata] = strings.Replace(pod.Annotations[AnnotationMetadata], "5f1c1f0e", fmt.Sprintf("%08x", app), 1)
		pod.Annotations[AnnotationInstance] = strings.Replace(pod.Annotations[AnnotationInstance], "inventory", fmt.Sprintf("app-%03d", app), 1)
		h.feed(pod, false, now)
		part := bigSlice(n/100, n%100+1)
		endpoint := part.Endpoints[n%100]
		endpoint.TargetRef.Name = strings.Clone(pod.Name)
		slices[app].Endpoints = append(slices[app].Endpoints, endpoint)
	}
	for _, s := range slices {
		h.feed(s, false, now)
	}
}

// cachedBytes returns what the cache of so many instances and applications takes.
func cachedBytes(count, apps int) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := quietHub(Config{})
	fill(h, count, apps)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(h)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}

func TestCachedInstancesAreSlim(t *testing.T) {
	const count, apps = 5000, 200
	if got := cachedBytes(count, apps) / count; got > maxCachedBytes {
		t.Fatalf("a cached instance costs %.0f bytes, and may cost %d", got, maxCachedBytes)
	}
}

// What an instance takes and what an application does, by two sizes.
func BenchmarkCachedHeap(b *testing.B) {
	for range b.N {
		const few, many, apps = 1000, 5000, 200
		small, large := cachedBytes(few, apps), cachedBytes(many, apps)
		instance := (large - small) / (many - few)
		b.ReportMetric(instance, "heap-B/instance")
		b.ReportMetric((small-few*instance)/apps, "heap-B/app")
		b.ReportMetric(small/few, "heap-B/instance-of-5")
		b.ReportMetric(large/many, "heap-B/instance-of-25")
	}
}

func BenchmarkJoin(b *testing.B) {
	for _, count := range []int{25, 100, 1000} {
		b.Run(fmt.Sprintf("instances=%d", count), func(b *testing.B) {
			h := quietHub(Config{})
			now := time.Now()
			for n := range count {
				h.feed(bigPod(n), false, now)
			}
			for i := range (count + 99) / 100 {
				h.feed(bigSlice(i, min(100, count-i*100)), false, now)
			}
			a := h.spaceOf("").apps[registry.App{Namespace: "shop", Name: "inventory"}]
			b.ReportAllocs()
			for b.Loop() {
				if s := join(a, registry.ModePod, now); len(s.Instances) != count {
					b.Fatal(len(s.Instances))
				}
			}
		})
	}
}

// A change of one pod of a slice of 100, as the cluster sends it.
func BenchmarkTakeSlice(b *testing.B) {
	h := quietHub(Config{})
	now := time.Now()
	for n := range 100 {
		h.feed(bigPod(n), false, now)
	}
	states := [2]*discoveryv1.EndpointSlice{bigSlice(0, 100), bigSlice(0, 100)}
	no := false
	states[1].Endpoints[50].Conditions.Ready = &no
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.feed(states[i%2], false, now)
		i++
	}
}

func BenchmarkTakePod(b *testing.B) {
	h := quietHub(Config{})
	now := time.Now()
	pods := [2]*metav1.PartialObjectMetadata{bigPod(1), bigPod(1)}
	pods[1].Annotations[AnnotationInstance] = `{"v":1,"app":"inventory","weight":10}`
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		h.feed(pods[i%2], false, now)
		i++
	}
}

// What a Caretaker does under the hub's lock each time it looks, where nothing is
// wrong.
func BenchmarkCaretakerLook(b *testing.B) {
	h := quietHub(Config{})
	fill(h, 5000, 200)
	c, err := NewCaretaker(CaretakerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	c.hub = h
	b.ReportAllocs()
	for b.Loop() {
		if n := len(c.notices(sees{"": true})); n != 0 {
			b.Fatalf("%d notices", n)
		}
		if u := h.usage(h.base); len(u.instances) != 200 {
			b.Fatalf("%d revisions", len(u.instances))
		}
	}
}
