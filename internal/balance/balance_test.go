package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

// line is what a test has to an address.
type line struct {
	secured bool
	closed  int
}

func (l *line) CloseIdle() { l.closed++ }

var shop = registry.App{Namespace: "shop", Name: "cart"}

// newPool returns a pool at a clock of the test's own.
func newPool(now *time.Time, change ...func(*Config[*line])) *Pool[*line] {
	cfg := Config[*line]{
		App:     shop,
		Port:    func(s registry.Service) (Port, error) { return PortOf(s, "", false) },
		Connect: func(_ *Member[*line], secured bool) *line { return &line{secured: secured} },
		Now:     func() time.Time { return *now },
	}
	for _, f := range change {
		f(&cfg)
	}
	return NewPool(cfg)
}

// snapshot returns one of so many instances, each changed.
func snapshot(count int, change func(n int, i *registry.Instance)) registry.Snapshot {
	s := registry.Snapshot{App: shop, Service: registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}}}
	for n := range count {
		i := registry.Instance{
			ID: fmt.Sprint(n), Name: fmt.Sprint("cart-", n), Host: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), Health: registry.Ready,
			Details: registry.Details{Weight: registry.DefaultWeight},
		}
		if change != nil {
			change(n, &i)
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

func address(n int) string { return fmt.Sprintf("10.0.0.%d:8080", n) }

// picked returns how often each instance was chosen, by number.
func picked(p *Pool[*line], times int, wish Wish[*line]) map[string]int {
	out := map[string]int{}
	for range times {
		if m := p.Pick(&wish); m != nil {
			m.Release()
			out[strings.TrimSuffix(strings.TrimPrefix(m.Address, "10.0.0."), ":8080")]++
		}
	}
	return out
}

func only(got map[string]int, want ...string) bool {
	for name := range got {
		if !slices.Contains(want, name) {
			return false
		}
	}
	return len(got) == len(want)
}

func memberAt(t *testing.T, p *Pool[*line], n int) *Member[*line] {
	t.Helper()
	for _, m := range p.Members() {
		if m.Address == address(n) {
			return m
		}
	}
	t.Fatalf("there is no member at %s", address(n))
	return nil
}

func TestPorts(t *testing.T) {
	ports := func(p ...registry.ServicePort) registry.Service { return registry.Service{Ports: p} }
	http, admin, odd := registry.ServicePort{Name: "http", Port: 80, Target: 8080}, registry.ServicePort{Name: "admin", Port: 81, Target: 9090}, registry.ServicePort{Name: "odd", Port: 82}
	tls := registry.ServicePort{Name: "https", Port: 443, Target: 8443, Secured: true}
	web := registry.ServicePort{Name: "web", Port: 85, Target: 8085, Primary: true}
	for _, c := range []struct {
		service registry.Service
		port    string
		tls     bool
		want    Port
	}{
		{ports(http), "", false, Port{8080, false}}, {ports(admin), "", false, Port{9090, false}}, {ports(admin, http), "", false, Port{8080, false}},
		{ports(admin, odd), "", false, Port{}}, {ports(admin, http), "admin", false, Port{9090, false}}, {ports(admin, http), "81", false, Port{9090, false}},
		{ports(admin, http), "9090", false, Port{}}, {ports(http), "x", false, Port{}}, {ports(odd), "odd", false, Port{}},
		{ports(), "8080", false, Port{8080, false}}, {ports(), "", false, Port{}}, {ports(), "http", false, Port{}},
		// As Spring Cloud Kubernetes has it.
		{ports(http, admin, web), "", false, Port{8085, false}}, {ports(http, tls, web), "", true, Port{8085, false}},
		{ports(http, tls, admin), "", false, Port{8080, false}}, {ports(http, tls, admin), "", true, Port{8443, true}},
		{ports(tls, admin), "", false, Port{8443, true}}, {ports(http, admin), "", true, Port{8080, false}},
	} {
		got, err := PortOf(c.service, c.port, c.tls)
		if got != c.want || (err != nil) != (c.want == Port{}) {
			t.Errorf("%v, port %q: %v, %v, want %v", c.service.Ports, c.port, got, err, c.want)
		}
	}
}

func TestShares(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, by := range []By{RoundRobin, Random, LeastRequests} {
		for _, weights := range [][]int{{100, 100, 100, 100}, {100, 300}, {1, 0, 1}, {0, 0}, {100}} {
			p := newPool(&now)
			p.Update(snapshot(len(weights), func(n int, i *registry.Instance) { i.Details.Weight = weights[n] }))
			sum := 0
			for _, w := range weights {
				sum += w
			}
			const picks = 20000
			got := picked(p, picks, Wish[*line]{By: by})
			for n := range weights {
				want := float64(weights[n]) / float64(max(sum, 1))
				if sum == 0 {
					want = 1 / float64(len(weights))
				}
				// Least requests without any under way chooses among two by weight.
				if share := float64(got[fmt.Sprint(n)]) / picks; share < want-0.03 || share > want+0.03 {
					t.Errorf("%d of %v: instance %d got %.3f, want %.3f", by, weights, n, share, want)
				}
			}
		}
	}
}

func TestLeastRequestsShunsTheBusy(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	p.Update(snapshot(2, nil))
	busy, idle := memberAt(t, p, 0), memberAt(t, p, 1)
	for range 5 {
		busy.Begin()
	}
	if got := picked(p, 5, Wish[*line]{}); !only(got, "1") {
		t.Fatalf("the busy one was picked: %v", got)
	}
	if got := picked(p, 5, Wish[*line]{Tried: []*Member[*line]{idle}}); !only(got, "0") {
		t.Errorf("a tried one was picked: %v", got)
	}
	if m := p.Pick(&Wish[*line]{Tried: []*Member[*line]{idle, busy}}); m != nil {
		t.Error("all were tried, and one was picked")
	}
	// Three times the weight bears three times the calls.
	p.Update(snapshot(2, func(n int, i *registry.Instance) { i.Details.Weight = []int{300, 100}[n] }))
	for range 2 {
		idle.Begin() // 5 at weight 300 are less than 2 at weight 100
	}
	if got := picked(p, 2000, Wish[*line]{}); got["0"] < got["1"]*4 {
		t.Errorf("picked %v", got)
	}
}

func TestEjectionIsCappedAndEndsByOneCall(t *testing.T) {
	now := time.Unix(1000, 0)
	ejections := 0
	p := newPool(&now, func(c *Config[*line]) { c.Ejected = func() { ejections++ } })
	p.Update(snapshot(4, nil))
	for n := range 4 {
		p.Refused(memberAt(t, p, n))
		p.Refused(memberAt(t, p, n))
	}
	if ejections != 2 {
		t.Fatalf("%d of 4 were ejected", ejections)
	}
	if got := picked(p, 200, Wish[*line]{By: Random}); !only(got, "2", "3") {
		t.Fatalf("an ejected one was picked: %v", got)
	}
	// When nothing else is left they are better than nothing.
	if m := p.Pick(&Wish[*line]{Tried: []*Member[*line]{memberAt(t, p, 2), memberAt(t, p, 3)}}); m == nil {
		t.Error("nobody was picked")
	}
	now = now.Add(ejectFor)
	if got := picked(p, 1000, Wish[*line]{By: RoundRobin}); got["0"] != 1 || got["1"] != 1 {
		t.Errorf("an ejection that is over is over for one call at first: %v", got)
	}
	first := memberAt(t, p, 0)
	p.Refused(first) // again, so for longer
	now = now.Add(ejectFor)
	if !first.Ejected(now.UnixNano()) {
		t.Error("the second ejection is as short as the first")
	}
	now = now.Add(tryFor) // the call to the other has told nothing: another one may try
	if got := picked(p, 1000, Wish[*line]{By: RoundRobin}); got["1"] != 1 {
		t.Errorf("nobody tries again: %v", got)
	}
	memberAt(t, p, 1).Accepted()
	if got := picked(p, 1000, Wish[*line]{By: RoundRobin}); got["1"] < 100 {
		t.Errorf("one that accepts is still ejected: %v", got)
	}
}

// A single instance is never left alone: there is no other.
func TestTheLastIsNotEjected(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	p.Update(snapshot(1, nil))
	p.Refused(memberAt(t, p, 0))
	if memberAt(t, p, 0).Ejected(now.UnixNano()) {
		t.Error("it is")
	}
}

func TestNewOnesWarmUp(t *testing.T) {
	now := time.Unix(100_000, 0)
	p := newPool(&now)
	p.Update(snapshot(2, func(n int, i *registry.Instance) {
		if n == 1 {
			i.Details.Started = now
		}
	}))
	share := func() float64 { return float64(picked(p, 10000, Wish[*line]{By: Random})["1"]) / 10000 }
	if got := share(); got > 0.02 {
		t.Errorf("one that has just started gets %.3f", got)
	}
	now = now.Add(WarmUp / 2)
	if got := share(); got < 0.30 || got > 0.37 {
		t.Errorf("half warm it gets %.3f, want a third", got)
	}
	now = now.Add(WarmUp)
	if got := share(); got < 0.47 || got > 0.53 {
		t.Errorf("warm it gets %.3f, want half", got)
	}
}

func TestTags(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	p.Update(snapshot(4, func(n int, i *registry.Instance) { i.Details.Tag = []string{"", "", "v2", "v2"}[n] }))
	for _, c := range []struct {
		wish Wish[*line]
		want []string
	}{
		{Wish[*line]{}, []string{"0", "1"}},
		{Wish[*line]{Tag: "v2"}, []string{"2", "3"}},
		{Wish[*line]{Tag: "v3"}, []string{"0", "1"}}, // nobody has it
		{Wish[*line]{AnyTag: true}, []string{"0", "1", "2", "3"}},
	} {
		if got := picked(p, 500, c.wish); !only(got, c.want...) {
			t.Errorf("%+v: %v, want %v", c.wish, got, c.want)
		}
	}
	p.Update(snapshot(2, func(_ int, i *registry.Instance) { i.Details.Tag = "v2" }))
	if got := picked(p, 500, Wish[*line]{}); !only(got, "0", "1") {
		t.Errorf("where all have a tag: %v", got)
	}
}

func TestOwnZoneFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	zone := "a"
	p := newPool(&now, func(c *Config[*line]) { c.Zone, c.NearPercent = func() string { return zone }, 50 })
	in := func(zones ...string) registry.Snapshot {
		return snapshot(len(zones), func(n int, i *registry.Instance) { i.Zone = zones[n] })
	}
	for _, c := range []struct {
		own   string
		zones []string
		want  []string
	}{
		{"a", []string{"a", "a", "b", "b"}, []string{"0", "1"}},
		{"a", []string{"a", "b", "b"}, []string{"0"}},                               // 1 of an even 1.5
		{"a", []string{"a", "b", "b", "b", "b"}, []string{"0", "1", "2", "3", "4"}}, // 1 of an even 2.5: too few
		{"c", []string{"a", "b"}, []string{"0", "1"}},
		{"", []string{"a", "b"}, []string{"0", "1"}},
	} {
		zone = c.own
		p.Update(in(c.zones...))
		if got := picked(p, 500, Wish[*line]{}); !only(got, c.want...) {
			t.Errorf("zone %q of %v: %v, want %v", c.own, c.zones, got, c.want)
		}
	}
	// Those of the zone that take no connection are passed over.
	zone = "a"
	p.Update(in("a", "b", "b"))
	p.Refused(memberAt(t, p, 0))
	if got := picked(p, 500, Wish[*line]{}); !only(got, "1", "2") {
		t.Errorf("with the zone's own ejected: %v", got)
	}
}

func TestStandbysComeLast(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	p.Update(snapshot(4, func(n int, i *registry.Instance) {
		if n >= 2 {
			i.Standby = "those of another cluster are called"
		}
	}))
	if got := picked(p, 500, Wish[*line]{}); !only(got, "0", "1") {
		t.Errorf("picked %v", got)
	}
	p.Refused(memberAt(t, p, 0))
	p.Refused(memberAt(t, p, 1))
	if got := picked(p, 500, Wish[*line]{}); !only(got, "2", "3") {
		t.Errorf("with all others ejected: %v", got)
	}
}

func TestMembersOutliveSnapshots(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	select {
	case <-p.Known():
		t.Fatal("known before anything was told")
	default:
	}
	p.Update(snapshot(2, nil))
	<-p.Known()
	stays, goes := memberAt(t, p, 0), memberAt(t, p, 1)
	goes.Begin()
	p.Update(snapshot(2, func(n int, i *registry.Instance) {
		if n == 1 {
			i.Details.State = registry.Draining
		}
	}))
	if memberAt(t, p, 0) != stays || stays.Conn.closed != 0 {
		t.Error("one that stays was replaced")
	}
	if got := picked(p, 100, Wish[*line]{}); !only(got, "0") {
		t.Errorf("one that drains was picked: %v", got)
	}
	closed := goes.Conn.closed
	goes.Release()
	if closed != 1 || goes.Conn.closed != 2 {
		t.Errorf("connections were closed %d times before its last call and %d times in all", closed, goes.Conn.closed)
	}
	// What speaks TLS since a moment is somebody else.
	s := snapshot(1, nil)
	s.Service.Ports[0].Secured = true
	p.Update(s)
	if m := memberAt(t, p, 0); m == stays || !m.Conn.secured {
		t.Error("a port that speaks TLS now is called as before")
	}
}

func TestWhy(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPool(&now)
	for _, c := range []struct {
		s    registry.Snapshot
		want string
	}{
		{snapshot(0, nil), "shop/cart has no instances"},
		{snapshot(2, func(_ int, i *registry.Instance) { i.Health = registry.NotReady }), "none of the 2 instances of shop/cart can be called: not ready"},
		{snapshot(1, func(_ int, i *registry.Instance) { i.Health = registry.NotReady }), "the only instance of shop/cart cannot be called: not ready"},
		{registry.Snapshot{Instances: snapshot(1, nil).Instances}, "the Service has no port"},
	} {
		p.Update(c.s)
		if got := p.Why(); !strings.Contains(got, c.want) || p.Pick(&Wish[*line]{}) != nil {
			t.Errorf("%q, want %q in it", got, c.want)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	now := time.Unix(1000, 0)
	for _, count := range []int{2, 100} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			p := newPool(&now)
			p.Update(snapshot(count, nil))
			b.ReportAllocs()
			for b.Loop() {
				wish := Wish[*line]{AnyTag: true}
				p.Pick(&wish).Release()
			}
		})
	}
}
