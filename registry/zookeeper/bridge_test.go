package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
)

const stockDocument = `{"app":"inventory","revision":"r1","services":{
	"b/org.example.Stock:1.0.0:dubbo":{"name":"org.example.Stock","group":"b","version":"1.0.0","protocol":"dubbo","port":20000,"path":"/org.example.Stock","params":{"application":"inventory","methods":"get,reserve","release":"dubbo-golang-3.3.2","serialization":"hessian2","timeout":"1000","registry":"kubernetes"}},
	"org.example.Report:tri":{"name":"org.example.Report","protocol":"tri","port":20001,"params":{"methods":"Greet"}},
	"org.apache.dubbo.metadata.MetadataService:dubbo":{"name":"org.apache.dubbo.metadata.MetadataService","protocol":"dubbo","port":20000}}}`

func TestABridgeWritesWhatKubernetesKnows(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	list, err := b.providers("org.example.Stock")
	if err != nil {
		t.Fatal(err)
	}
	p := list[0]
	if p.Interface != (registry.Interface{Name: "org.example.Stock", Group: "b", Version: "1.0.0"}) || p.Address.String() != "dubbo://10.0.0.1:20000" || p.App != "inventory" {
		t.Errorf("%+v", p)
	}
	for k, want := range map[string]string{
		"methods": "get,reserve", "side": "provider", "serialization": "hessian2", "timeout": "1000", "weight": "100", "timestamp": "1730000000000",
		"registry": "", instanceParam: "shop/inventory/uid-1",
	} {
		if p.Params[k] != want {
			t.Errorf("%s is %q, want %q", k, p.Params[k], want)
		}
	}
	// Of Triple, consumers of Dubbo 2 would complain.
	if list, _ := b.providers("org.example.Report"); len(list) > 0 {
		t.Errorf("Triple is written: %+v", list)
	}

	b.instance(2)
	b.finds("10.0.0.1", "10.0.0.2")
	b.instance(1, func(i *registry.Instance) { i.Health = registry.NotReady })
	b.finds("10.0.0.2")
	b.instance(2, func(i *registry.Instance) { i.Details.Weight = 10 })
	b.eventually("the weight", func() error {
		list, err := b.providers("org.example.Stock")
		if err != nil || len(list) != 1 || list[0].Weight != 10 {
			return fmt.Errorf("%+v, %w", list, err)
		}
		return nil
	})
	b.eventually("the status", func() error {
		if s := r.Status(); !s.Writes || s.Nodes != 1 || s.Apps != 1 || s.Problem != "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	b.eventually("the count", func() error {
		if n := testutil.ToFloat64(r.metrics.writes.WithLabelValues("written")); n != 3 {
			return fmt.Errorf("%v were written", n)
		}
		return nil
	})
	b.reg.RemoveInstance(inventory, "uid-2")
	b.finds()
	// Its end takes nothing away.
	b.instance(3)
	b.finds("10.0.0.3")
	r.end()
	b.finds("10.0.0.3")
}

func TestABridgeTouchesNothingOfOthers(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	node := func(host, more string) string {
		return "dubbo://" + host + ":20000/org.example.Stock?application=inventory&group=b&interface=org.example.Stock&version=1.0.0" + more
	}
	// One that is in both, one of another application, one of another bridge.
	own := b.look.provide(t, "org.example.Stock", node("10.0.0.1", ""))
	b.look.provide(t, "org.example.Stock", node("10.0.0.8", ""))
	b.look.provide(t, "org.example.Stock", node("10.0.0.9", "&weir.bridge=other&weir.instance=shop/inventory/uid-9"))
	b.instance(1)
	b.instance(2)
	b.run()
	b.finds("10.0.0.1*", "10.0.0.2", "10.0.0.8*", "10.0.0.9")
	// It leaves ZooKeeper, and serves on.
	if err := b.look.conn.Delete(own, -1); err != nil {
		t.Fatal(err)
	}
	b.finds("10.0.0.1", "10.0.0.2", "10.0.0.8*", "10.0.0.9")
	// And comes back.
	b.look.provide(t, "org.example.Stock", node("10.0.0.1", ""))
	b.finds("10.0.0.1*", "10.0.0.2", "10.0.0.8*", "10.0.0.9")
}

func TestOneReplicaWritesAndAnotherGoesOn(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	first := b.run()
	first.says("this process writes applications into ZooKeeper now")
	b.finds("10.0.0.1")
	second := b.run()
	b.instance(2)
	b.finds("10.0.0.1", "10.0.0.2")
	if strings.Contains(second.log.String(), "now") || second.Status().Writes {
		t.Errorf("both write: %s", second.log)
	}
	// While the first ends, consumers find nobody missing.
	watching, stop := context.WithCancel(within(t))
	var missed []int
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			if names, err := b.look.children(watching, b.cfg.Interfaces+"/org.example.Stock/providers"); err == nil && len(names) < 2 {
				missed = append(missed, len(names))
			}
		}
	})
	first.end()
	second.says("this process writes applications into ZooKeeper now")
	b.instance(3)
	b.finds("10.0.0.1", "10.0.0.2", "10.0.0.3")
	b.reg.RemoveInstance(inventory, "uid-3")
	b.finds("10.0.0.1", "10.0.0.2")
	stop()
	watch.Wait()
	if len(missed) > 0 {
		t.Errorf("consumers found %v", missed)
	}
}

func TestAReplicaThatLostItsSessionWritesNoMore(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	// Its term ends without its knowledge.
	lock := "/weir/bridge/" + r.cfg.Name
	names, err := b.look.children(within(t), lock)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "term-") {
			if err := b.look.conn.Delete(lock+"/"+name, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.instance(2)
	r.says("its session with ZooKeeper was lost")
	// And begins a new one.
	b.finds("10.0.0.1", "10.0.0.2")
}

func TestNothingIsRemovedWithoutProof(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	b.instance(2)
	r := b.run()
	b.finds("10.0.0.1", "10.0.0.2")
	// The registry is out of touch; one that starts now knows of no application.
	b.client.Cut()
	b.reg.RemoveInstance(inventory, "uid-2")
	r.end()
	next := b.run()
	next.says("this process writes applications into ZooKeeper now")
	b.eventually("a look at all", func() error {
		if s := next.Status(); !s.Writes || s.Nodes != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	b.finds("10.0.0.1", "10.0.0.2")
	b.client.Restore()
	b.finds("10.0.0.1")
	// An instance of which nobody knows what it offers keeps what it had.
	b.instance(1, func(i *registry.Instance) {
		i.Revision = "r2"
		i.Metadata[registry.KeyRevision] = "r2"
	})
	next.says("what they offer is not known")
	b.instance(3)
	b.finds("10.0.0.1", "10.0.0.3")
	// An application that nobody asks for any more goes.
	next.end()
	other := b.run(func(c *BridgeConfig) { c.Apps = []string{"other/*"} })
	b.finds()
	other.end()
}

// An application that went while no bridge ran is in no list of applications any
// more. What was written of it goes all the same, once that is known.
func TestWhatWasDeletedMeanwhileIsRemoved(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	r.end()
	b.reg.RemoveApp(inventory)
	b.run()
	b.finds()
}

func TestABridgeOutlivesZooKeeper(t *testing.T) {
	t.Parallel()
	server := testzk.StartOwn(t)
	b := newBridged(t, server)
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	server.Kill(t)
	r.says("cannot be written into ZooKeeper")
	if s := r.Status(); s.Problem == "" || s.Writes {
		t.Errorf("%+v", s)
	}
	b.instance(2)
	server.Wipe(t)
	server.Restart(t)
	b.look = dial(t, b.cfg) // one that saw more than the server now knows is not let in
	b.finds("10.0.0.1", "10.0.0.2")
	b.eventually("the status", func() error {
		if s := r.Status(); s.Problem != "" || !s.Writes {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func TestUnbridgeRemovesWhatABridgeWrote(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.look.provide(t, "org.example.Stock", "dubbo://10.0.0.8:20000/org.example.Stock?application=inventory")
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1", "10.0.0.8*")
	if _, err := b.look.Unbridge(within(t), r.cfg.Name); registry.CodeOf(err) != registry.Conflict {
		t.Errorf("of one that runs: %v", err)
	}
	if list, err := b.look.Bridges(within(t)); err != nil || !slices.Contains(list, Written{Name: r.cfg.Name, Providers: 1, Runs: true, Node: "node"}) {
		t.Errorf("%+v, %v", list, err)
	}
	r.end()
	if n, err := b.look.Unbridge(within(t), r.cfg.Name); err != nil || n != 1 {
		t.Errorf("%d removed, %v", n, err)
	}
	b.finds("10.0.0.8*")
}

// As consumers on Kubernetes have it: an instance's word holds before the service's
// own, unless it is the default.
func TestAServicesOwnWeightIsWritten(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	weighty := strings.Replace(stockDocument, `"timeout":"1000"`, `"timeout":"1000","weight":"30"`, 1)
	if err := b.client.PutMetadata(within(t), inventory, "r1", []byte(weighty)); err != nil {
		t.Fatal(err)
	}
	b.instance(1)
	b.instance(2, func(i *registry.Instance) { i.Details.Weight = 10 })
	b.run()
	b.finds("10.0.0.1", "10.0.0.2")
	list, err := b.providers("org.example.Stock")
	if err != nil || list[0].Weight != 30 || list[1].Weight != 10 {
		t.Errorf("%+v, %v", list, err)
	}
}

// dubbo-go writes a weight of 0 for providers that name none, and consumers call such
// ones only where all are so. Beside them the bridge writes 0 too: who comes by it first
// in a rolling restart would else be called alone.
func TestNobodyIsCalledAloneBesideProvidersWithoutAWeight(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	node := func(host, weight string) string {
		return "dubbo://" + host + ":20000/org.example.Stock?application=inventory&group=b&interface=org.example.Stock&release=dubbo-golang-3.3.2&version=1.0.0&weight=" + weight
	}
	weights := func(want ...string) {
		t.Helper()
		b.eventually(fmt.Sprintf("the weights %v", want), func() error {
			list, err := b.providers("org.example.Stock")
			have := []string{}
			for _, p := range list {
				have = append(have, p.Host+"="+p.Params[paramWeight])
			}
			if err != nil || !slices.Equal(have, want) {
				return fmt.Errorf("they are %v, %w", have, err)
			}
			return nil
		})
	}
	first, second := b.look.provide(t, "org.example.Stock", node("10.0.0.8", "0")), b.look.provide(t, "org.example.Stock", node("10.0.0.9", "0"))
	// Another bridge's say nothing: each would else wait for the other.
	b.look.provide(t, "org.example.Stock", node("10.0.0.7", "0")+"&weir.bridge=other&weir.instance=shop/inventory/uid-7")
	b.instance(1)
	b.run()
	weights("10.0.0.1=0", "10.0.0.7=0", "10.0.0.8=0", "10.0.0.9=0")
	b.instance(2)
	if err := b.look.conn.Delete(first, -1); err != nil {
		t.Fatal(err)
	}
	weights("10.0.0.1=0", "10.0.0.2=0", "10.0.0.7=0", "10.0.0.9=0")
	// The last one leaves.
	if err := b.look.conn.Delete(second, -1); err != nil {
		t.Fatal(err)
	}
	weights("10.0.0.1=100", "10.0.0.2=100", "10.0.0.7=0")
	// Beside one that names a weight they have theirs, and where one of their own does.
	third := b.look.provide(t, "org.example.Stock", node("10.0.0.8", "50"))
	b.look.provide(t, "org.example.Stock", node("10.0.0.9", "0"))
	weights("10.0.0.1=100", "10.0.0.2=100", "10.0.0.7=0", "10.0.0.8=50", "10.0.0.9=0")
	b.instance(2, func(i *registry.Instance) { i.Details.Weight = 10 })
	weights("10.0.0.1=100", "10.0.0.2=10", "10.0.0.7=0", "10.0.0.8=50", "10.0.0.9=0")
	if err := b.look.conn.Delete(third, -1); err != nil {
		t.Fatal(err)
	}
	b.instance(3)
	weights("10.0.0.1=100", "10.0.0.2=10", "10.0.0.3=100", "10.0.0.7=0", "10.0.0.9=0")
	b.instance(2)
	weights("10.0.0.1=0", "10.0.0.2=0", "10.0.0.3=0", "10.0.0.7=0", "10.0.0.9=0")
}

// A registry that is out of touch knows of instances that are gone, as another replica
// knew that was in touch.
func TestWhoIsOutOfTouchAddsNobodyToAList(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	b.instance(2)
	r := b.run()
	b.finds("10.0.0.1", "10.0.0.2")
	b.client.Cut()
	removeNode := func(host string) {
		t.Helper()
		at := b.cfg.Interfaces + "/org.example.Stock/providers"
		names, err := b.look.children(within(t), at)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.Contains(name, host) {
				if err := b.look.conn.Delete(at+"/"+name, -1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	removeNode("10.0.0.2")
	b.eventually("a look", func() error {
		if s := r.Status(); s.Nodes != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	b.finds("10.0.0.1")
	// A list that nobody is on would end all calls, and is filled.
	removeNode("10.0.0.1")
	b.finds("10.0.0.1", "10.0.0.2")
}

// An older snapshot that comes late has its revision forgotten.
func TestADocumentThatWasForgottenIsReadAgain(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	b.instance(1)
	r := b.run()
	b.finds("10.0.0.1")
	r.learn(within(t), registry.Snapshot{App: inventory})
	at := b.cfg.Interfaces + "/org.example.Stock/providers"
	names, err := b.look.children(within(t), at)
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	if err := b.look.conn.Delete(at+"/"+names[0], -1); err != nil {
		t.Fatal(err)
	}
	b.finds("10.0.0.1")
}

// A transaction takes 1 MB.
func TestManyInstancesWithManyMethodsAreWritten(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	long := strings.Replace(stockDocument, "get,reserve", strings.Repeat("aMethodWithAName,", 800)+"reserve", 1)
	if err := b.client.PutMetadata(within(t), inventory, "r1", []byte(long)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for n := range 90 {
		b.instance(byte(n + 10))
		want = append(want, fmt.Sprintf("10.0.0.%d", n+10))
	}
	r := b.run()
	b.finds(want...)
	// And all of them anew at once.
	for n := range 90 {
		b.instance(byte(n+10), func(i *registry.Instance) { i.Details.Weight = 10 })
	}
	b.eventually("the weights", func() error {
		list, err := b.providers("org.example.Stock")
		if err != nil || len(list) != 90 {
			return fmt.Errorf("%d, %w", len(list), err)
		}
		for _, p := range list {
			if p.Weight != 10 {
				return fmt.Errorf("%s has %d", p.Host, p.Weight)
			}
		}
		return nil
	})
	if s := r.Status(); s.Problem != "" {
		t.Errorf("%+v", s)
	}
}

// Who may write below a node need not be let to make it.
func TestNodesThatAreThereAreNotMade(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	above := b.cfg.Interfaces
	b.cfg.Interfaces = above + "/dubbo"
	b.look.put(t, b.cfg.Interfaces, "", 0)
	if _, err := b.look.conn.SetACL(above, zk.WorldACL(zk.PermRead), -1); err != nil {
		t.Fatal(err)
	}
	b.instance(1)
	b.run()
	b.finds("10.0.0.1")
}

// Instances whose documents nobody stores are asked themselves, and named where they
// do not tell.
func TestInstancesThatStoreNoDocument(t *testing.T) {
	t.Parallel()
	b := newBridged(t, testzk.Start(t))
	local := func(i *registry.Instance) {
		i.Revision = "local"
		i.Metadata[registry.KeyRevision] = "local"
	}
	b.instance(1)
	b.instance(2, local)
	b.instance(3, local)
	r := b.run()
	b.finds("10.0.0.1")
	b.eventually("it is told who is not written", func() error {
		s := r.Status()
		if len(s.Unknown) != 1 || s.Unknown[0].App != inventory || s.Unknown[0].Instances != 2 || s.Unknown[0].Why == "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if n := testutil.ToFloat64(unknownCollector{r.Bridge}); n != 2 {
		t.Errorf("the metric says %v", n)
	}
	r.end()

	var asked atomic.Int64
	next := b.run(func(c *BridgeConfig) {
		c.Ask = func(_ context.Context, app registry.App, i *registry.Instance) ([]byte, error) {
			if app != inventory || i.Revision != "local" {
				t.Errorf("%s of %s is asked", i.ID, app)
			}
			if asked.Add(1) == 1 {
				return nil, errors.New("it is busy")
			}
			return []byte(strings.Replace(stockDocument, `"r1"`, `"local"`, 1)), nil
		}
	})
	b.finds("10.0.0.1", "10.0.0.2", "10.0.0.3")
	if n := asked.Load(); n != 2 {
		t.Errorf("%d were asked", n)
	}
	if s := next.Status(); len(s.Unknown) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBridgeConfig(t *testing.T) {
	t.Parallel()
	good := BridgeConfig{ZooKeeper: Config{Servers: "zk"}, Name: "n", Apps: []string{"shop/inventory", "pay/*"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if !good.selects(registry.App{Namespace: "pay", Name: "ledger"}) || good.selects(registry.App{Namespace: "shop", Name: "orders"}) {
		t.Error("it selects others")
	}
	for want, change := range map[string]func(*BridgeConfig){
		"names no ZooKeeper":       func(c *BridgeConfig) { c.ZooKeeper.Servers = "" },
		"no name of a bridge":      func(c *BridgeConfig) { c.Name = "a&b" },
		"no application is named":  func(c *BridgeConfig) { c.Apps = nil },
		`"shop" names no applicat`: func(c *BridgeConfig) { c.Apps = []string{"shop"} },
		`"*/*" names no applicati`: func(c *BridgeConfig) { c.Apps = []string{"*/*"} },
	} {
		c := good
		change(&c)
		if err := c.Validate(); registry.CodeOf(err) != registry.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
