package dubbo

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// rig is a binding over a memory registry, without dubbo-go behind it.
type rig struct {
	t       testing.TB
	world   *memory.Registry
	client  *memory.Client
	binding *Binding
	reg     goregistry.Registry
	log     *logBuffer
	metrics *prometheus.Registry
}

func newRig(t *testing.T) *rig { return newRigFor(t) }

func newRigFor(t testing.TB) *rig {
	t.Helper()
	world := memory.New()
	backend, c := memoryBackend(t, world)
	return newRigOn(t, world, c, backend)
}

func newRigOn(t testing.TB, world *memory.Registry, c *memory.Client, backend Backend) *rig {
	t.Helper()
	r := &rig{t: t, world: world, client: c, log: &logBuffer{}, metrics: prometheus.NewRegistry()}
	name := "rig-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-", "=", "-").Replace(t.Name()))
	var err error
	r.binding, err = Use(name, backend, Config{
		Namespace: namespace, Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.metrics,
		SyncTimeout: 50 * time.Millisecond, RetryDelay: 5 * time.Millisecond, Overlap: 20 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.binding.Close)
	u, err := common.NewURL("registry://"+name, common.WithParamsValue(constant.RegistryKey, name))
	if err != nil {
		t.Fatal(err)
	}
	if r.reg, err = extension.GetRegistry(name, u); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
	return r
}

const stock = "org.example.Stock"

// offer stores the document of a revision that offers the interfaces over tri
// and dubbo, and maps them.
func (r *rig) offer(name, revision string, ifaces ...string) {
	r.t.Helper()
	services := map[string]any{}
	for _, iface := range ifaces {
		for _, proto := range []string{"tri", "dubbo"} {
			services[iface+":"+proto] = map[string]any{"name": iface, "protocol": proto, "params": map[string]string{"methods": "get"}}
		}
		if err := r.client.MapInterface(r.t.Context(), registry.Interface{Name: iface}, app(name)); err != nil {
			r.t.Fatal(err)
		}
	}
	doc, err := json.Marshal(map[string]any{"app": name, "revision": revision, "services": services})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.client.PutMetadata(r.t.Context(), app(name), revision, doc); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) subscribe(u *common.URL) *recorder {
	r.t.Helper()
	l := &recorder{}
	r.subscribeWith(u, l)
	return l
}

func (r *rig) subscribeWith(u *common.URL, l *recorder) {
	r.t.Helper()
	if err := r.reg.Subscribe(u, l); err != nil {
		r.t.Fatal(err)
	}
}

// sees waits until the newest list has exactly these hosts, on any port.
func (r *rig) sees(l *recorder, hosts ...string) {
	r.t.Helper()
	var got []string
	eventually(r.t, fmt.Sprintf("a list of %v", hosts), func() bool {
		list, ok := l.last()
		if !ok {
			return false
		}
		got = nil
		for _, location := range list {
			got = append(got, location[:strings.LastIndexByte(location, ':')])
		}
		slices.Sort(got)
		return slices.Equal(got, hosts)
	})
}

func (r *rig) logs(what string) {
	r.t.Helper()
	eventually(r.t, "a log of "+what, func() bool { return strings.Contains(r.log.String(), what) })
}

func TestListFollowsInstances(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	a, b := callable("a", "10.0.0.1", "r1"), callable("b", "10.0.0.2", "r1")
	r.world.PutInstance(app("inventory"), a)
	tri, dubbo := r.subscribe(consumerURL(stock, "tri")), r.subscribe(consumerURL(stock, "dubbo"))
	r.sees(tri, "10.0.0.1")
	r.sees(dubbo, "10.0.0.1")
	if list, _ := dubbo.last(); list[0] != "10.0.0.1:20000" {
		t.Errorf("dubbo is called at %s", list[0])
	}

	r.world.PutInstance(app("inventory"), b)
	r.sees(tri, "10.0.0.1", "10.0.0.2")

	r.world.SetHealth(app("inventory"), "a", registry.NotReady)
	r.sees(tri, "10.0.0.2")
	r.world.SetHealth(app("inventory"), "a", registry.Ready)
	r.sees(tri, "10.0.0.1", "10.0.0.2")

	a.Details.State = registry.Draining
	r.world.PutInstance(app("inventory"), a)
	r.sees(tri, "10.0.0.2")

	b.Details.Weight = 300
	r.world.PutInstance(app("inventory"), b)
	eventually(t, "the new weight", func() bool { return slices.Equal(tri.params("weight"), []string{"300"}) })

	// Proven empty is empty.
	r.world.RemoveInstance(app("inventory"), "b")
	r.sees(tri)
	r.logs("none of which can be called: a is draining")
	if got := testutil.ToFloat64(r.binding.metrics.references); got != 2 {
		t.Errorf("%v references are counted, want 2", got)
	}
}

// What a reference cannot see is not sent to it.
// Clusters and zones are chosen for an application as a whole, before anybody looks
// at what its instances offer.
func TestThoseThatStandByAreCalledWhereNobodyElseOffersIt(t *testing.T) {
	const late = "org.example.Late"
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.offer("inventory", "r2", stock, late)
	near, far := callable("near", "10.0.0.1", "r1"), callable("far", "10.0.0.2", "r2")
	far.Standby = "those of zone a are called in its place"
	r.world.PutInstance(app("inventory"), near)
	r.world.PutInstance(app("inventory"), far)
	old, added := r.subscribe(consumerURL(stock, "tri")), r.subscribe(consumerURL(late, "tri"))
	r.sees(old, "10.0.0.1")
	r.sees(added, "10.0.0.2")
	near.Revision, near.Metadata = "r2", callable("near", "10.0.0.1", "r2").Metadata
	r.world.PutInstance(app("inventory"), near)
	r.sees(added, "10.0.0.1")
	r.sees(old, "10.0.0.1")
	// Ready, and not registered: a near one that has lost its rights, say.
	near.Revision, near.Metadata, near.Endpoints = "", nil, nil
	r.world.PutInstance(app("inventory"), near)
	r.sees(added, "10.0.0.2")
	r.sees(old, "10.0.0.2")
}

func TestNoListForNoChange(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	a, b := callable("a", "10.0.0.1", "r1"), callable("b", "10.0.0.2", "r1")
	b.Health = registry.NotReady
	r.world.PutInstance(app("inventory"), a)
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")

	r.world.PutInstance(app("inventory"), b) // not callable
	a.Node = "n7"                            // not in the URL
	r.world.PutInstance(app("inventory"), a)
	eventually(t, "both changes seen", func() bool {
		return testutil.ToFloat64(r.binding.metrics.lists.WithLabelValues("unchanged")) >= 1
	})
	r.world.SetHealth(app("inventory"), "b", registry.Ready)
	r.sees(l, "10.0.0.1", "10.0.0.2")
	if got := l.count(); got != 2 {
		t.Errorf("%d lists, want 2", got)
	}
}

// A listener that is slow gets the newest list next, not those between, and
// holds up nobody else.
func TestSlowListener(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	slow := &recorder{gate: make(chan struct{}), in: make(chan struct{}, 100)}
	quick := r.subscribe(consumerURL(stock, "tri"))
	r.subscribeWith(consumerURL(stock, "tri"), slow)
	<-slow.in
	for n := range 50 {
		r.world.PutInstance(app("inventory"), callable(fmt.Sprintf("b%02d", n), fmt.Sprintf("10.0.1.%d", n), "r1"))
	}
	eventually(t, "the quick one has all", func() bool { list, _ := quick.last(); return len(list) == 51 })
	close(slow.gate)
	eventually(t, "the slow one has all", func() bool { list, _ := slow.last(); return len(list) == 51 })
	if got := slow.count(); got > 3 {
		t.Errorf("the slow listener got %d lists for 51 changes", got)
	}
}

// While the registry is silent nothing is handed on; once it answers, the list
// is; and when it falls silent again, the list stays.
func TestUnknownIsNotEmpty(t *testing.T) {
	world := memory.New()
	c := world.Join(memory.Config{Offline: true})
	t.Cleanup(c.Close)
	r := newRigOn(t, world, c, Backend{Discoverer: c, Registrar: c, Mapping: c, Metadata: c})
	helper := world.Join(memory.Config{})
	t.Cleanup(helper.Close)
	online := &rig{t: t, world: world, client: helper}
	online.offer("inventory", "r1", stock)
	world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))

	l := r.subscribe(consumerURL(stock, "tri"))
	r.logs("nothing is known yet")
	if l.count() != 0 {
		t.Fatal("a list was handed on before anything was known")
	}
	c.Restore()
	r.sees(l, "10.0.0.1")
	c.Cut()
	world.RemoveInstance(app("inventory"), "a")
	world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r1"))
	c.Restore()
	r.sees(l, "10.0.0.2")
	for _, list := range l.lists {
		if len(list) == 0 {
			t.Error("an empty list was handed on")
		}
	}
}

// Instances whose metadata cannot be read yet are left out, never the reason for
// an empty list.
func TestMetadataRace(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	a := callable("a", "10.0.0.1", "r1")
	r.world.PutInstance(app("inventory"), a)
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")

	// Replaced at once by a revision without a document, and without a metadata
	// service that could be asked.
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r2"))
	r.world.RemoveInstance(app("inventory"), "a")
	r.logs("what they offer could not be read")
	eventually(t, "the empty list is held", func() bool {
		return testutil.ToFloat64(r.binding.metrics.lists.WithLabelValues("held")) >= 1
	})
	if list, _ := l.last(); !slices.Equal(list, []string{"10.0.0.1:20001"}) {
		t.Fatalf("the list is %v", list)
	}
	r.offer("inventory", "r2", stock)
	r.sees(l, "10.0.0.2")
}

// A document that cannot be read costs its revision, not the application.
func TestBrokenDocument(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	if err := r.client.PutMetadata(t.Context(), app("inventory"), "broken", []byte(`{"services":{"x":null}}`)); err != nil {
		t.Fatal(err)
	}
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "broken"))
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")
	r.logs(`metadata document names no interface under \"x\"`)
}

// An instance with an unreadable annotation is named in the log and left out;
// the others are called.
func TestBrokenInstance(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	broken := callable("b", "10.0.0.2", "")
	broken.Problem = "annotation io.dubbo/metadata is not JSON: unexpected end of input"
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(app("inventory"), broken)
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")
	r.logs("an instance is ready but cannot be called")
	r.logs("annotation io.dubbo/metadata is not JSON")
	r.world.SetHealth(app("inventory"), "a", registry.NotReady)
	r.sees(l)
	if got := strings.Count(r.log.String(), "an instance is ready but cannot be called"); got != 1 {
		t.Errorf("the problem was logged %d times", got)
	}
}

func TestSeveralApplications(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")
	// Another application takes the interface over.
	r.world.PutInstance(app("warehouse"), callable("w", "10.0.0.9", "r1"))
	r.offer("warehouse", "r1", stock)
	r.sees(l, "10.0.0.1", "10.0.0.9")
	if err := r.client.UnmapInterface(t.Context(), registry.Interface{Name: stock}, app("inventory")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log names who is unmapped", func() bool { return strings.Contains(r.log.String(), "app=shop/inventory") })
	r.offer("inventory", "r2", "org.example.Other")
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r2"))
	r.sees(l, "10.0.0.9")
	eventually(t, "the first is not followed any more", func() bool {
		r.binding.mu.Lock()
		defer r.binding.mu.Unlock()
		return len(r.binding.watches) == 1
	})
	// The mapping gets lost: the instances are still there.
	if err := r.client.UnmapInterface(t.Context(), registry.Interface{Name: stock}, app("warehouse")); err != nil {
		t.Fatal(err)
	}
	r.world.PutInstance(app("warehouse"), callable("x", "10.0.0.10", "r1"))
	r.sees(l, "10.0.0.10", "10.0.0.9")
}

// client.WithProvidedBy needs no mapping, as for Dubbo Java's providers, and may
// name another namespace.
func TestProvidedBy(t *testing.T) {
	r := newRig(t)
	other := registry.App{Namespace: "stores", Name: "stock"}
	doc := `{"app":"stock","services":{"x:tri":{"name":"` + stock + `","protocol":"tri"}}}`
	for _, a := range []registry.App{app("inventory"), other} {
		if err := r.client.PutMetadata(t.Context(), a, "r1", []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(other, callable("s", "10.0.0.2", "r1"))
	l := r.subscribe(consumerURL(stock, "tri", constant.ProvidedBy, "inventory,stores/stock"))
	r.sees(l, "10.0.0.1", "10.0.0.2")
	if err := r.reg.Subscribe(consumerURL(stock, "tri", constant.ProvidedBy, "In_ventory"), &recorder{}); registry.CodeOf(err) != registry.Invalid {
		t.Errorf("a bad name: %v", err)
	}
}

// The first list is there when LoadSubscribeInstances returns, which dubbo-go
// calls before it hands out the reference.
func TestFirstList(t *testing.T) {
	r := newRig(t)
	r.binding.cfg.SyncTimeout = deadline
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	l := &recorder{}
	u := consumerURL(stock, "tri")
	if err := r.reg.LoadSubscribeInstances(u, l); err != nil {
		t.Fatal(err)
	}
	if list, _ := l.last(); len(list) != 1 {
		t.Fatalf("the first list is %v", list)
	}
	r.subscribeWith(u, l) // as dubbo-go does next
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r1"))
	r.sees(l, "10.0.0.1", "10.0.0.2")
	if got := l.count(); got != 2 {
		t.Errorf("%d lists, want 2: the second call subscribed again", got)
	}
}

// Whatever was subscribed can be unsubscribed, and leaves nothing behind.
func TestUnsubscribeLeavesNothing(t *testing.T) {
	r := newRig(t)
	for n := range 20 {
		name := fmt.Sprintf("app%d", n)
		r.offer(name, "r1", stock, fmt.Sprintf("org.example.S%d", n))
		r.world.PutInstance(app(name), callable("i", "10.0.0.1", "r1"))
	}
	before := goroutines()
	for range 3 {
		var listeners []*recorder
		for n := range 20 {
			l := &recorder{}
			r.subscribeWith(consumerURL(stock, "tri"), l)
			r.subscribeWith(consumerURL(fmt.Sprintf("org.example.S%d", n), "tri"), l)
			listeners = append(listeners, l)
		}
		for _, l := range listeners {
			eventually(t, "a list", func() bool { return l.count() > 1 })
		}
		for n, l := range listeners {
			for _, u := range []*common.URL{consumerURL(stock, "tri"), consumerURL(fmt.Sprintf("org.example.S%d", n), "tri")} {
				if err := r.reg.UnSubscribe(u, l); err != nil {
					t.Fatal(err)
				}
				if err := r.reg.UnSubscribe(u, l); err != nil { // once more is no error
					t.Fatal(err)
				}
			}
		}
	}
	r.binding.mu.Lock()
	subs, watches := len(r.binding.subs), len(r.binding.watches)
	r.binding.mu.Unlock()
	if subs != 0 || watches != 0 {
		t.Errorf("%d listeners and %d applications are still followed", subs, watches)
	}
	eventually(t, "no goroutine is left", func() bool { return goroutines() <= before })
}

// A listener is not called after UnSubscribe has returned.
func TestNoListAfterUnsubscribe(t *testing.T) {
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	l := &recorder{gate: make(chan struct{}), in: make(chan struct{}, 10)}
	u := consumerURL(stock, "tri")
	r.subscribeWith(u, l)
	<-l.in
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r1"))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = r.reg.UnSubscribe(u, l)
	}()
	select {
	case <-gone:
		t.Error("UnSubscribe returned while the listener was being called")
	default:
	}
	close(l.gate)
	<-gone
	got := l.count()
	r.world.PutInstance(app("inventory"), callable("c", "10.0.0.3", "r1"))
	other := r.subscribe(u)
	r.sees(other, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	if l.count() != got {
		t.Error("the listener was called after UnSubscribe")
	}
}

func TestClose(t *testing.T) {
	before := goroutines()
	r := newRig(t)
	r.offer("inventory", "r1", stock)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1")
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "no document"))
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(r.binding.Close)
	}
	closing.Wait()
	eventually(t, "no goroutine is left", func() bool { return goroutines() <= before })
	if r.reg.IsAvailable() {
		t.Error("a closed registry calls itself available")
	}
	if err := r.reg.Subscribe(consumerURL(stock, "tri"), l); registry.CodeOf(err) != registry.Unavailable {
		t.Errorf("subscribing to a closed registry: %v", err)
	}
	if err := r.reg.UnSubscribe(consumerURL(stock, "tri"), l); err != nil {
		t.Error(err)
	}
	if families, err := r.metrics.Gather(); err != nil || len(families) != 0 {
		t.Errorf("metrics stay registered: %v, %v", families, err)
	}
	// The name is free again, and what dubbo-go holds works on.
	backend, _ := memoryBackend(t, r.world)
	again, err := Use(r.binding.Name(), backend, Config{Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	if !r.reg.IsAvailable() {
		t.Error("the old handle does not find the new binding")
	}
}

func TestUse(t *testing.T) {
	backend, _ := memoryBackend(t, memory.New())
	for name, tc := range map[string]struct {
		name    string
		backend Backend
		cfg     Config
		want    registry.Code
	}{
		"no name":      {"", backend, Config{Namespace: "x"}, registry.Invalid},
		"no backend":   {"a", Backend{}, Config{Namespace: "x"}, registry.Invalid},
		"no namespace": {"a", backend, Config{}, registry.Invalid},
	} {
		if _, err := Use(tc.name, tc.backend, tc.cfg); registry.CodeOf(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	one, err := Use("twice", backend, Config{Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Close)
	if _, err := Use("twice", backend, Config{Namespace: "x"}); registry.CodeOf(err) != registry.Conflict {
		t.Errorf("the same name twice: %v", err)
	}
}

// goroutines counts those that run this package's code.
func goroutines() int {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "registry/dubbo.(*") {
			n++
		}
	}
	return n
}
