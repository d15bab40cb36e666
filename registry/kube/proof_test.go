package kube

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

// A thousand hosts that are silent, as of a zone that burnt down, are found out
// together.
func TestManySilentHostsAreReleasedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1000
		f := newFleet(t, size, Config{})
		f.h.dial = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		advance(soon)
		f.slice(strings.Repeat("n", size))
		f.want("at first", 0, strings.Repeat("K", size))
		f.want("in a third of a minute", 20*time.Second, strings.Repeat(".", size))
	})
}

func TestAllPortsOfAnInstanceAreTried(t *testing.T) {
	for ports, want := range map[int]int{1: 1, 9: 9, 40: probePorts} {
		h := quietHub(Config{})
		var endpoints []string
		for i := range ports {
			endpoints = append(endpoints, fmt.Sprintf(`{\"port\":%d,\"protocol\":\"tri\"}`, 20000+i))
		}
		pod := bigPod(0)
		pod.Annotations[AnnotationMetadata] = `{"dubbo.endpoints":"[` + strings.Join(endpoints, ",") + `]"}`
		h.feed(serviceNamed("inventory"), false, time.Now())
		h.feed(pod, false, time.Now())
		h.feed(bigSlice(0, 1), false, time.Now())
		a := h.spaceOf("").apps[inventory]
		if got := a.probed(&lost{endpoint: a.slices[0].endpoints[0]}); len(got) != want {
			t.Errorf("of %d ports %v are tried, want %d", ports, got, want)
		}
	}
}

// Pods of a node's network share its address: who serves another port of it has taken
// nothing.
func TestAnAddressIsTakenWithItsPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		advance(soon)
		f.slice("---")
		f.want("unlisted", f.h.cfg.Grace+soon, "UUU")
		other := bigSlice(0, 3)
		other.Name, other.Labels[discoveryv1.LabelServiceName] = "exporter-abc", "exporter"
		for i := range other.Endpoints {
			other.Endpoints[i].TargetRef.UID += "-exporter"
		}
		serve := func(port int32) {
			other.Ports = []discoveryv1.EndpointPort{{Port: &port}}
			f.locked(func(now time.Time) { f.h.feed(other.DeepCopy(), false, now) })
		}
		serve(9100)
		f.want("another serves another port at each address", soon, "UUU")
		serve(20000)
		f.want("another serves its port", soon, "...")
	})
}

// selecting is the Service with a selector.
func selecting(version string) *corev1.Service {
	s := serviceNamed("inventory")
	s.Spec.Selector = map[string]string{"app": "inventory", "version": version}
	return s
}

// One version takes over from another by the selector of the Service.
func TestASelectorIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, order := range []string{"Service first", "slice first"} {
			f := newFleet(t, 4, Config{})
			service := func(version string) func(time.Time) {
				return func(now time.Time) { f.h.feed(selecting(version), false, now) }
			}
			f.locked(service("blue"))
			f.slice("rr--")
			advance(2 * lossWindow)
			if order == "Service first" {
				f.locked(service("green"))
				f.slice("--rr")
			} else {
				f.slice("--rr")
				advance(10 * time.Millisecond)
				f.locked(service("green"))
			}
			f.want(order, f.h.cfg.Grace+soon, "..RR")
			f.want("and so it stays", 2*lossWindow, "..RR")
			// A slip, which selects nothing, and its end.
			f.locked(service("gren"))
			f.slice("----")
			f.want("nothing is left", f.h.cfg.Grace+soon, "..UU")
			f.locked(service("green"))
			f.slice("---r")
			advance(10 * time.Millisecond)
			f.slice("--rr")
			f.want("the slip is mended", soon, "..RR")
			f.neverEmpty()
			// Nobody of the new version is ready yet.
			f.locked(service("blue"))
			f.slice("----")
			f.want("nobody is ready yet", f.h.cfg.Grace+soon, "..UU")
			f.slice("rr--")
			f.want("they are", f.h.cfg.Grace+soon, "RR..")
		}
	})
}

// A container that starts anew is ready when Kubernetes says so.
func TestARestartReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3, Config{})
		restart := func(i int) {
			pod := bigPod(i)
			pod.Annotations[AnnotationInstance] = `{"v":1,"app":"inventory","state":"up","startTime":"2026-11-29T12:00:00Z"}`
			f.locked(func(now time.Time) { f.h.feed(pod, false, now) })
		}
		advance(soon)
		f.slice("nnn")
		f.want("at first", soon, "KKK")
		restart(1)
		f.want("one starts anew", soon, "K.K")
		f.slice("---")
		f.want("they are unlisted", soon, "U.U")
		restart(2)
		f.want("another starts anew", soon, "U..")
	})
}

// What a pod's phase tells is asked for before an unlisted one is called for long.
func TestEndedPodsAreAskedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 4, Config{})
		asked := 0
		f.h.ended = func(_ context.Context, namespace string) ([]string, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if asked++; namespace != "shop" {
				t.Errorf("asked about %q", namespace)
			}
			return []string{bigPodUID(1), bigPodUID(3), "another"}, nil
		}
		advance(soon)
		f.slice("rrrr")
		f.slice("----")
		f.want("two ended, two are there", f.h.cfg.Grace+soon, "U.U.")
		f.want("and so it stays", time.Minute, "U.U.")
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// Of those who claim one address.
func TestWhoHasAnAddress(t *testing.T) {
	host := netip.MustParseAddr("10.0.0.1")
	at := func(second int64) time.Time { return time.Unix(1_800_000_000+second, 0) }
	made := map[string]time.Time{"a": at(4), "b": at(2), "c": at(3)}
	instance := func(id string, started time.Time, kept bool) registry.Instance {
		i := registry.Instance{ID: id, Name: id, Host: host, Health: registry.Ready, Details: registry.Details{Started: started, Weight: 100, State: registry.Up}}
		if kept {
			i.Health, i.Kept = registry.NotReady, &registry.Kept{Because: registry.KeptUnlisted}
		}
		return i
	}
	for name, c := range map[string]struct {
		all  []registry.Instance
		want string
	}{
		"the pod made last":            {[]registry.Instance{instance("b", time.Time{}, false), instance("c", time.Time{}, false), instance("a", time.Time{}, false)}, "a"},
		"the process started last":     {[]registry.Instance{instance("a", at(9), false), instance("c", at(8), false)}, "a"},
		"a pod made after a start":     {[]registry.Instance{instance("z", at(2), false), instance("c", time.Time{}, false)}, "c"},
		"one that is ready":            {[]registry.Instance{instance("a", at(1), false), instance("c", at(9), true)}, "a"},
		"nothing is known of the rest": {[]registry.Instance{instance("y", time.Time{}, false), instance("x", time.Time{}, false)}, "y"},
	} {
		settleClaims(c.all, func(i *registry.Instance) time.Time { return made[i.ID] })
		var called []string
		for i := range c.all {
			if c.all[i].Callable() {
				called = append(called, c.all[i].Name)
			}
		}
		if got := strings.Join(called, " "); got != c.want {
			t.Errorf("%s: called are %q, want %s", name, got, c.want)
		}
	}
	// And where they come from.
	h := quietHub(Config{})
	pod := bigPod(0)
	pod.CreationTimestamp = metav1.NewTime(at(5))
	h.feed(pod, false, time.Now())
	if got := h.spaceOf("").created(&registry.Instance{ID: bigPodUID(0)}); !got.Equal(at(5)) {
		t.Errorf("made at %v", got)
	}
}
