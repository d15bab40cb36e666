package clusters_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/memory"
)

// A cluster that cannot be reached empties nothing: neither its own instances nor
// those of others.
func TestUnknownIsNotEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := memory.New(), memory.New()
		put(east, "east", 1)
		put(west, "west", 1)
		home, away := east.Join(memory.Config{}), west.Join(memory.Config{Offline: true})
		defer home.Close()
		defer away.Close()
		r := of(t, clusters.Config{ProbeEvery: -1}, home, away)
		f := follow(t, r)
		if got := f.called(); got != "" {
			t.Errorf("%q is called before west was waited for", got)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // it is the time of the bubble
		f.want(t, r, "when west was waited for", "east-0")
		home.Cut()
		east.RemoveApp(inventory)
		f.want(t, r, "with east cut off", "east-0")
		if s, err := r.Snapshot(t.Context(), inventory); err != nil || s.StaleSince.IsZero() {
			t.Errorf("nobody says that it is stale: %v", err)
		}
		away.Restore()
		f.want(t, r, "with west back, and east cut off", "east-0")
		home.Restore()
		f.want(t, r, "when east says itself that it has none", "west-0")
		// An application of the cluster that has not spoken is not known to be empty.
		blind := west.Join(memory.Config{Offline: true})
		defer blind.Close()
		r = of(t, clusters.Config{ProbeEvery: -1}, home, blind)
		f = follow(t, r)
		time.Sleep(time.Minute) //nolint:forbidigo // it is the time of the bubble
		if f.called(); f.told != 0 {
			t.Errorf("it was told %d times, of %+v", f.told, f.last)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Snapshot(ctx, inventory); registry.CodeOf(err) != registry.Unavailable || !strings.Contains(err.Error(), "cluster west") {
			t.Errorf("asked, it says %v", err)
		}
		if _, err := r.InterfaceApps(ctx, registry.Interface{Name: "org.example.Stock"}); registry.CodeOf(err) != registry.Unavailable {
			t.Errorf("asked for an interface, it says %v", err)
		}
	})
}

// A cluster that never answers is waited for once, and not with each question.
func TestASilentClusterIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := memory.New(), memory.New()
		put(east, "east", 1)
		put(west, "west", 1)
		home, away := east.Join(memory.Config{}), west.Join(memory.Config{Offline: true})
		defer home.Close()
		defer away.Close()
		r := of(t, clusters.Config{ProbeEvery: -1}, home, away)
		began := time.Now()
		for range 100 {
			if apps, err := r.Apps(t.Context(), ""); err != nil || len(apps) != 1 {
				t.Fatalf("%v, %v", apps, err)
			}
			if s, err := r.Snapshot(t.Context(), inventory); err != nil || names(&s) != "east-0" {
				t.Fatalf("%q, %v", names(&s), err)
			}
		}
		f := follow(t, r)
		f.want(t, r, "for a new follower", "east-0")
		if took := time.Since(began); took != 2*time.Second { // of the bubble
			t.Errorf("it took %s", took)
		}
		// It is waited for again once it has spoken.
		away.Restore()
		for range 100 {
			if s, err := r.Snapshot(t.Context(), inventory); err != nil || len(s.Instances) != 2 {
				t.Fatalf("%+v, %v", s, err)
			}
		}
	})
}

// A cluster that was missed, and answers again, is part of every answer from then on,
// whichever of the two answers first.
func TestAClusterThatAnswersAgainIsNotMissed(t *testing.T) {
	pricing := registry.App{Namespace: "shop", Name: "pricing"}
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			east, west := memory.New(), memory.New()
			put(east, "east", 1)
			west.PutService(pricing, registry.Service{})
			home, away := east.Join(memory.Config{}), west.Join(memory.Config{Offline: true})
			defer home.Close()
			defer away.Close()
			metrics := prometheus.NewRegistry()
			r := of(t, clusters.Config{ProbeEvery: -1, Metrics: metrics}, home, away)
			unheard := func(want int) {
				t.Helper()
				synctest.Wait()
				text := fmt.Sprintf("# HELP weir_registry_cluster_unheard 1 while a cluster has not answered this process yet, and the others are called without it.\n"+
					"# TYPE weir_registry_cluster_unheard gauge\nweir_registry_cluster_unheard{cluster=\"east\"} 0\nweir_registry_cluster_unheard{cluster=\"west\"} %d\n", want)
				if err := testutil.GatherAndCompare(metrics, strings.NewReader(text), "weir_registry_cluster_unheard"); err != nil {
					t.Error(err)
				}
			}
			for range 2 {
				if s, err := r.Snapshot(t.Context(), inventory); err != nil || len(s.Instances) != 1 {
					t.Fatalf("%+v, %v", s, err)
				}
			}
			unheard(1)
			away.Restore()
			unheard(0) // though nobody asks
			if apps, err := r.Apps(t.Context(), ""); err != nil || len(apps) != 2 {
				t.Errorf("%v, %v", apps, err)
			}
		})
	}
}

// While a cluster does not answer, what takes no connection there stands by.
func TestInstancesOfASilentClusterAreTried(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	east, west := memory.New(), memory.New()
	instance := func(world *memory.Registry, id, host string) {
		world.PutService(inventory, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: at.Port()}}})
		world.PutInstance(inventory, registry.Instance{ID: id, Host: netip.MustParseAddr(host)})
	}
	instance(east, "alive", "127.0.0.1")
	instance(east, "dead", "127.0.0.2")
	instance(west, "other", "127.0.0.1")
	home, away := east.Join(memory.Config{}), west.Join(memory.Config{})
	defer home.Close()
	defer away.Close()
	r := of(t, clusters.Config{ProbeEvery: 5 * time.Millisecond, ReturnAfter: -1}, home, away)
	f := follow(t, r)
	until := func(want string) {
		t.Helper()
		testkube.Eventually(t, want+" is called", func() error {
			if got := f.now(); got != want {
				return fmt.Errorf("%q is", got)
			}
			return nil
		})
	}
	until("alive dead")
	home.Cut()
	until("alive")
	_ = l.Close()
	until("other")
	if s, err := r.Snapshot(t.Context(), inventory); err != nil || len(s.Instances) != 3 || !strings.Contains(s.Find("alive").Why(), "API server of cluster east does not answer") && !strings.Contains(s.Find("alive").Why(), "those of cluster west") {
		t.Errorf("%+v, %v", s, err)
	}
	home.Restore() // it says that they are ready, and is believed
	until("alive dead")
}

// However many instances a silent cluster has, all are tried, each at all its ports.
func TestAllInstancesOfASilentClusterAreTried(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open, closed := netip.MustParseAddrPort(l.Addr().String()).Port(), uint16(1)
	east, west := memory.New(), memory.New()
	east.PutService(inventory, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: closed}}})
	for n := range 300 {
		east.PutInstance(inventory, registry.Instance{ID: fmt.Sprint("dead-", n), Host: netip.AddrFrom4([4]byte{127, 1, byte(n / 250), byte(n%250 + 1)})})
	}
	east.PutInstance(inventory, registry.Instance{ID: "with-two-ports", Host: netip.MustParseAddr("127.0.0.1"), Metadata: map[string]string{
		registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":"dubbo"},{"port":%d,"protocol":"tri"}]`, closed, open),
	}})
	put(west, "west", 1)
	home, away := east.Join(memory.Config{}), west.Join(memory.Config{})
	defer home.Close()
	defer away.Close()
	r := of(t, clusters.Config{ProbeEvery: 5 * time.Millisecond, ReturnAfter: -1}, home, away)
	f := follow(t, r)
	until := func(want string) {
		t.Helper()
		testkube.Eventually(t, want+" is called", func() error {
			if got := f.now(); got != want {
				return fmt.Errorf("%d are: %.100s", len(strings.Fields(got)), got)
			}
			return nil
		})
	}
	testkube.Eventually(t, "all are called", func() error {
		if got := len(strings.Fields(f.now())); got != 301 {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	home.Cut()
	until("with-two-ports")
	_ = l.Close()
	until("west-0")
}
