package kube

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

// maxCachedBytes is what one cached instance may cost beyond the snapshots that
// are built of it; a Pod object as client-go caches it costs 12.7 KB.
const maxCachedBytes = 300

// fill caches count instances of applications of 25, as a cluster would.
func fill(h *Hub, count int) {
	now := time.Now()
	for n := range count {
		h.feed(bigPod(n), false, now)
	}
	for i := range count / 25 {
		s := bigSlice(0, 0)
		s.Name = fmt.Sprintf("app-%03d-x7k2p", i)
		s.Labels = map[string]string{discoveryv1.LabelServiceName: fmt.Sprintf("app-%03d", i)}
		for n := i * 25; n < (i+1)*25; n++ {
			part := bigSlice(n/100, n%100+1)
			s.Endpoints = append(s.Endpoints, part.Endpoints[n%100])
		}
		h.feed(s, false, now)
	}
}

func cachedBytes(count int) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := quietHub(Config{})
	fill(h, count)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(h)
	return float64(after.HeapAlloc-before.HeapAlloc) / float64(count)
}

func TestCachedInstancesAreSlim(t *testing.T) {
	if got := cachedBytes(5000); got > maxCachedBytes {
		t.Fatalf("a cached instance costs %.0f bytes, and may cost %d", got, maxCachedBytes)
	}
}

func BenchmarkCachedHeap(b *testing.B) {
	for range b.N {
		b.ReportMetric(cachedBytes(5000), "heap-B/instance")
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
	fill(h, 5000)
	c, err := NewCaretaker(CaretakerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	c.hub = h
	b.ReportAllocs()
	for b.Loop() {
		if n := len(c.notices()); n != 0 {
			b.Fatalf("%d notices", n)
		}
		if u := h.usage(h.base); len(u.instances) != 1 {
			b.Fatalf("%d revisions", len(u.instances))
		}
	}
}
