package dubbo

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/registry"
)

// serviceAt is a Service that leads to where callable's instances serve.
func serviceAt(host string, tri, dubbo uint16) registry.Service {
	return registry.Service{Host: host, Ports: []registry.ServicePort{
		{Name: "tri", Port: tri, Target: 20001}, {Name: "dubbo", Port: dubbo, Target: 20000},
	}}
}

// lanesOf returns the addresses of the newest list, each once, and its lanes.
func lanesOf(l *recorder) (addresses, lanes []string) {
	list, _ := l.last()
	for _, a := range list {
		if !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	return addresses, l.params(constant.MeshClusterIDKey)
}

func (r *rig) callsService(l *recorder, address string, lanes int) (ids []string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d lanes to %s", lanes, address), func() bool {
		var at []string
		at, ids = lanesOf(l)
		return slices.Equal(at, []string{address}) && len(ids) == lanes && !slices.Contains(ids, "")
	})
	slices.Sort(ids)
	if len(slices.Compact(slices.Clone(ids))) != lanes {
		r.t.Errorf("lanes %v are not all different", ids)
	}
	return ids
}

// shared returns how many lanes two lists share.
func shared(a, b []string) (n int) {
	for _, id := range a {
		if slices.Contains(b, id) {
			n++
		}
	}
	return n
}

func TestServiceModeCallsOneAddressByLanes(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutService(app("inventory"), serviceAt("inventory.shop.svc", 7001, 7000))
	r.world.SetMode(app("inventory"), registry.ModeService)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	tri, dubbo := r.subscribe(consumerURL(stock, "tri")), r.subscribe(consumerURL(stock, "dubbo"))
	r.callsService(tri, "inventory.shop.svc:7001", tripleLanes)
	r.callsService(dubbo, "inventory.shop.svc:7000", dubboLanes)

	// Proven empty is empty, and an instance is enough to be called again.
	r.world.RemoveInstance(app("inventory"), "a")
	r.sees(tri)
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r1"))
	r.callsService(tri, "inventory.shop.svc:7001", tripleLanes)
}

func TestTheReferenceChoosesBeforeTheRegistryDoes(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutService(app("inventory"), serviceAt("inventory.shop.svc", 7001, 7000))
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	service := r.subscribe(consumerURL(stock, "tri", CallModeKey, "service"))
	r.callsService(service, "inventory.shop.svc:7001", tripleLanes)
	r.world.SetMode(app("inventory"), registry.ModeService)
	pod := r.subscribe(consumerURL(stock, "tri", CallModeKey, "pod"))
	r.sees(pod, "10.0.0.1")

	if err := r.reg.Subscribe(consumerURL(stock, "tri", CallModeKey, "mesh"), &recorder{}); err == nil || !strings.Contains(err.Error(), `"mesh"`) {
		t.Errorf("a mode that there is not: %v", err)
	}
}

// A reference goes over from instances to the Service and back: not before the new
// address can be reached, and by way of a list that has both.
func TestSwitchingModesOverlaps(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	at := func(port uint16) registry.Service {
		return registry.Service{Host: "127.0.0.1", Ports: []registry.ServicePort{{Name: "tri", Port: port}}}
	}
	l.Close() // nobody listens yet
	r.world.PutService(app("inventory"), at(port))
	a := callable("a", "127.0.0.2", "r1")
	there, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	a.Endpoints = []registry.Endpoint{{Protocol: "tri", Port: uint16(there.Addr().(*net.TCPAddr).Port)}}
	r.world.PutInstance(app("inventory"), a)
	tri := r.subscribe(consumerURL(stock, "tri"))
	r.sees(tri, "127.0.0.2")

	r.world.SetMode(app("inventory"), registry.ModeService)
	r.logs("cannot be reached from here")
	r.sees(tri, "127.0.0.2") // as before
	// Its Service gets another port, where somebody does.
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port = uint16(l.Addr().(*net.TCPAddr).Port)
	r.world.PutService(app("inventory"), at(port))
	r.callsService(tri, fmt.Sprintf("127.0.0.1:%d", port), tripleLanes)
	if both := tri.before(1); len(both) != 1+tripleLanes || !slices.Contains(both, there.Addr().String()) {
		t.Errorf("before the last list came %v", both)
	}

	// Back.
	r.world.SetMode(app("inventory"), registry.ModePod)
	r.sees(tri, "127.0.0.2")
	r.logs(`mode=pod`)
}

// Only what every instance offers can be asked of whichever the cluster chooses.
func TestServiceModeOffersWhatAllInstancesDo(t *testing.T) {
	r := newRig(t)
	const fresh = "org.example.Fresh"
	r.offer("inventory", "r1", stock)
	r.offer("inventory", "r2", stock, fresh)
	r.world.PutService(app("inventory"), serviceAt("inventory.shop.svc", 7001, 7000))
	r.world.SetMode(app("inventory"), registry.ModeService)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r2"))
	r.callsService(r.subscribe(consumerURL(stock, "tri")), "inventory.shop.svc:7001", tripleLanes)
	news := r.subscribe(consumerURL(fresh, "tri"))
	r.sees(news, "10.0.0.2") // the one that offers it
	r.world.RemoveInstance(app("inventory"), "a")
	r.logs(`mode=service`)
}

func TestWithoutAServiceThatLeadsToThemInstancesAreCalled(t *testing.T) {
	for why, service := range map[string]registry.Service{
		"its Service is headless": {Host: "inventory.shop.svc", Headless: true},
		"no port that leads to":   {Host: "inventory.shop.svc", Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}},
	} {
		t.Run(why, func(t *testing.T) {
			r := newRig(t)
			r.offer("inventory", "r1", stock)
			r.world.PutService(app("inventory"), service)
			r.world.SetMode(app("inventory"), registry.ModeService)
			r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
			r.sees(r.subscribe(consumerURL(stock, "tri")), "10.0.0.1")
			r.logs(why)
		})
	}
}

func TestNothingIsWholeWithoutAService(t *testing.T) {
	instance := callable("a", "10.0.0.1", "r1")
	e := entry{instance: &instance, services: []*service{{name: stock, protocol: "tri"}}}
	if w, why := newWhole(view{}, []entry{e}, 0); w != nil || why != "it has no Service" {
		t.Errorf("%+v, %q", w, why)
	}
	if w, why := newWhole(view{}, nil, 0); w != nil || why != "" {
		t.Errorf("of nobody: %+v, %q", w, why)
	}
}

// A lane whose instance has announced its end gives way to a new one: dubbo-go
// holds the name of the old one against it.
func TestALaneThatClosesIsReplaced(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutService(app("inventory"), serviceAt("inventory.shop.svc", 7001, 7000))
	r.world.SetMode(app("inventory"), registry.ModeService)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	tri := r.subscribe(consumerURL(stock, "tri"))
	before := r.callsService(tri, "inventory.shop.svc:7001", tripleLanes)
	closes := tri.url(3)
	graceful_shutdown.DefaultClosingEventHandler().HandleClosingEvent(graceful_shutdown.ClosingEvent{
		Source: "triple-health-watch", InstanceKey: closes.GetCacheInvokerMapKey(), ServiceKey: closes.ServiceKey(), Address: closes.Location,
	})
	var after []string
	eventually(t, "another lane", func() bool {
		_, after = lanesOf(tri)
		return len(after) == tripleLanes && !slices.Contains(after, closes.GetParam(constant.MeshClusterIDKey, ""))
	})
	if n := shared(before, after); n != tripleLanes-1 {
		t.Errorf("of %v %d are left in %v", before, n, after)
	}
	if n := testutil.ToFloat64(r.binding.metrics.lanes.WithLabelValues("closing")); n != 1 {
		t.Errorf("%v lanes were counted", n)
	}
}

func TestLanesAreRenewedAsInstancesComeAndGo(t *testing.T) {
	now := time.Now()
	var l lanes
	step := func(ready, away, ending string, want renewed, again time.Duration, ids ...int) {
		t.Helper()
		n, at := l.renew(4, false, around{ready: split(ready), away: split(away), ending: split(ending)}, now)
		wait := time.Duration(0)
		if !at.IsZero() {
			wait = at.Sub(now)
		}
		if n != want || wait != again || !slices.Equal(l.ids, ids) {
			t.Errorf("with %q, without %q and %q %+v were renewed, again in %v: %v", ready, away, ending, n, wait, l.ids)
		}
	}
	none := renewed{}
	step("ab", "", "", none, 0, 1, 2, 3, 4)
	step("ab", "", "", none, 0, 1, 2, 3, 4)
	// Half of the instances are new, which the nodes have to hear first.
	step("abcd", "", "", none, nodesPause, 1, 2, 3, 4)
	now = now.Add(nodesPause)
	step("abcd", "", "", renewed{growth: 2}, 0, 3, 4, 5, 6)
	step("abcde", "", "", none, renewPause, 3, 4, 5, 6)
	step("bcde", "", "", none, renewPause, 3, 4, 5, 6) // as many as before, one of them new
	now = now.Add(renewPause)
	step("bcde", "", "", renewed{growth: 1}, 0, 4, 5, 6, 7)
	// One is not ready for a moment: calls of it may still end well.
	step("cde", "b", "", none, renewPause, 4, 5, 6, 7)
	now = now.Add(renewPause - 1)
	step("bcde", "", "", none, 0, 4, 5, 6, 7)
	step("cde", "b", "", none, awayPause, 4, 5, 6, 7)
	now = now.Add(awayPause)
	step("cde", "b", "", renewed{unready: 4}, 0, 8, 9, 10, 11)
	now = now.Add(renewPause)
	step("cde", "b", "", none, 0, 8, 9, 10, 11) // no lane leads there any more
	step("cde", "", "b", none, 0, 8, 9, 10, 11)
	step("bcde", "", "", none, nodesPause, 8, 9, 10, 11) // it is a newcomer
	now = now.Add(nodesPause)
	step("bcde", "", "", renewed{growth: 1}, 0, 9, 10, 11, 12)
	step("cde", "", "b", none, nodesPause, 9, 10, 11, 12) // it ends
	step("de", "", "bc", none, nodesPause, 9, 10, 11, 12) // and another
	now = now.Add(nodesPause * 9 / 10)
	step("de", "", "bc", none, nodesPause/10, 9, 10, 11, 12)
	now = now.Add(nodesPause / 10)
	step("de", "", "bc", renewed{closing: 4}, 0, 13, 14, 15, 16)
	step("de", "", "bc", none, 0, 13, 14, 15, 16) // no lane leads there any more
	step("de", "", "x", none, 0, 13, 14, 15, 16)  // and none to one that was never called
	if l.pool != 5 {
		t.Errorf("%d pools", l.pool)
	}
	// One that was not ready before it ends is left as any other.
	step("d", "e", "", none, renewPause, 13, 14, 15, 16)
	step("d", "", "e", none, nodesPause, 13, 14, 15, 16)
	now = now.Add(renewPause)
	step("d", "", "e", renewed{closing: 4}, 0, 17, 18, 19, 20)
	step("df", "", "", none, renewPause, 17, 18, 19, 20)
	now = now.Add(renewPause)
	if n, _ := l.renew(4, true, around{ready: split("df")}, now); n != (renewed{growth: 4}) {
		t.Errorf("of a shared pool %+v were renewed", n)
	}
}

func split(ids string) []string { return strings.Split(ids, "") }

// New lanes lead to those alone that are ready: while those are few, the others are
// left where they are.
func TestLanesStandWhileFewInstancesAreReady(t *testing.T) {
	now := time.Now()
	var l lanes
	renew := func(a around) renewed {
		now = now.Add(time.Hour)
		n, again := l.renew(4, false, a, now)
		if !again.IsZero() {
			now = again
			n, _ = l.renew(4, false, a, now)
		}
		return n
	}
	renew(around{ready: split("abcde")})
	few := around{ready: split("a"), kept: split("bc"), ending: split("d"), away: split("e")}
	if n := renew(few); n != (renewed{}) {
		t.Errorf("%+v were renewed", n)
	}
	l.close([]int{2})
	if n := renew(few); n != (renewed{closing: 1}) {
		t.Errorf("of one that was closed %+v were renewed", n)
	}
	few.ready, few.kept = split("ab"), split("c")
	if n := renew(few); n != (renewed{closing: 4}) {
		t.Errorf("once more are ready %+v were renewed", n)
	}
}

// What a renewal left in place may still lead to an instance that was not to be
// called then.
func TestOldLanesAreRememberedByInstancesThatTheyMayLeadTo(t *testing.T) {
	now := time.Now()
	var l lanes
	renew := func(a around) int {
		n, _ := l.renew(4, false, a, now)
		return n.closing
	}
	renew(around{ready: []string{"a", "b"}})
	renew(around{ready: []string{"a", "c"}, others: []string{"b"}})
	now = now.Add(nodesPause)
	renew(around{ready: []string{"a", "c"}, others: []string{"b"}}) // half give way
	now = now.Add(renewPause)
	renew(around{ready: []string{"a", "c"}, ending: []string{"b"}})
	now = now.Add(nodesPause)
	if n := renew(around{ready: []string{"a", "c"}, ending: []string{"b"}}); n != 4 {
		t.Errorf("%d lanes gave way to the end of b", n)
	}
	// Two end one after the other: by the first's time nodes may still lead to the second.
	renew(around{ready: []string{"a"}, ending: []string{"c"}})
	now = now.Add(nodesPause * 9 / 10)
	renew(around{ready: []string{"d"}, ending: []string{"a", "c"}})
	now = now.Add(nodesPause / 10)
	if n := renew(around{ready: []string{"d"}, ending: []string{"a", "c"}}); n != 4 {
		t.Errorf("%d lanes gave way to the end of c", n)
	}
	now = now.Add(nodesPause)
	if n := renew(around{ready: []string{"d"}, ending: []string{"a", "c"}}); n != 4 {
		t.Errorf("%d lanes gave way to the end of a", n)
	}
}

// A rollout in which ten instances end each second renews the lanes once in a second:
// each renewal leaves connections that take their time to go.
func TestLanesAreRenewedOnceAtATime(t *testing.T) {
	now := time.Now()
	var l lanes
	var at []time.Time
	callable := []string{"new"}
	for n := range 200 {
		callable = append(callable, strconv.Itoa(n))
	}
	l.renew(16, true, around{ready: callable}, now)
	for n := range 200 {
		now = now.Add(nodesPause / 10)
		a := around{ready: append([]string{"new"}, callable[n+2:]...), ending: callable[max(1, n-30) : n+2]}
		if n, _ := l.renew(16, true, a, now); n.closing > 0 {
			at = append(at, now)
		}
	}
	if len(at) < 15 {
		t.Fatalf("%d renewals in 20 s", len(at))
	}
	for i := range at[1:] {
		if pause := at[i+1].Sub(at[i]); pause < nodesPause || pause > 2*nodesPause {
			t.Errorf("two renewals %v apart", pause)
		}
	}
}

func TestClosedLanesGiveWayWithPauses(t *testing.T) {
	now := time.Now()
	var l lanes
	only := around{ready: []string{"a"}}
	l.renew(4, false, only, now)
	now = now.Add(time.Hour)
	l.close([]int{2, 99})
	if n, _ := l.renew(4, false, only, now); n.closing != 1 || !slices.Equal(l.ids, []int{1, 3, 4, 5}) {
		t.Errorf("%+v gave way, lanes %v", n, l.ids)
	}
	l.close([]int{1, 3, 4, 5}) // at once: until there are others they are better than none
	if _, again := l.renew(4, false, only, now); !again.Equal(now.Add(refillPause)) || !slices.Equal(l.ids, []int{1, 3, 4, 5}) {
		t.Errorf("lanes %v, again at %v", l.ids, again)
	}
	now = now.Add(refillPause)
	if n, _ := l.renew(4, false, only, now); n.closing != 4 || !slices.Equal(l.ids, []int{6, 7, 8, 9}) {
		t.Errorf("%+v gave way, lanes %v", n, l.ids)
	}
	l.close([]int{6})
	if n, _ := l.renew(4, true, only, now); n.closing != 1 {
		t.Errorf("where it costs nothing %+v gave way", n)
	}
}

func TestSpelled(t *testing.T) {
	seen := map[string]int{}
	for n := range 200 {
		host := spelled("a-b.shop.svc", n)
		if !strings.EqualFold(host, "a-b.shop.svc") {
			t.Fatalf("%q is another name", host)
		}
		if other, ok := seen[host]; ok {
			t.Fatalf("%q is spelled so for %d and %d", host, other, n)
		}
		seen[host] = n
	}
	if host := spelled("10.0.0.1", 5); host != "10.0.0.1" {
		t.Errorf("an address became %q", host)
	}
}
