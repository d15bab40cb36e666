package zookeeper

import (
	"context"
	"fmt"
	"testing"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/registry/zookeeper"
)

// The whole way, with a process for each step as a rolling restart makes them, and a
// consumer that calls all the time. Nobody's call fails.
func TestTheMoveLosesNoCall(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	for name, byApplication := range map[string]bool{"by interface": false, "by application": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c)
			before := processConfig{ZooKeeper: w.zk.Address(), Plain: true, ByApplication: byApplication}
			both := processConfig{ZooKeeper: w.zk.Address(), ByApplication: byApplication, Kubeconfig: "yes"}
			after := processConfig{Kubeconfig: "yes"}
			prefer := func(id string) processConfig {
				in := both
				in.Prefer = id
				return in
			}

			// ZooKeeper only.
			oldA, oldB := w.provider("old-a", before), w.provider("old-b", before)
			first := w.start(orders, "first", before)
			first.answered("old-a", "old-b")
			w.judges(zookeeper.Missing)

			// Consumers look in both, and call what ZooKeeper has.
			second := w.start(orders, "second", prefer("zookeeper"))
			second.answered("old-a", "old-b")
			first.stop()
			first.lostNothing()

			// Providers register in both.
			bothA := w.provider("both-a", both)
			second.answered("old-a", "old-b", "both-a")
			w.judges(zookeeper.NotReady)
			oldA.stop()
			bothB := w.provider("both-b", both)
			oldB.stop()
			second.answered("both-a", "both-b")
			w.judges(zookeeper.Ready)

			// Somebody whom Kubernetes alone has is not called yet.
			kubeOnly := w.provider("kube-only", after)
			w.ns.AwaitEndpoint(t, inventory, "kube-only", true)
			second.answered("both-a", "both-b")

			// They call what Kubernetes has.
			third := w.start(orders, "third", prefer("kubernetes"))
			third.answered("both-a", "both-b", "kube-only")
			second.stop()
			second.lostNothing()
			// And drop ZooKeeper.
			fourth := w.start(orders, "fourth", after)
			fourth.answered("both-a", "both-b", "kube-only")
			third.stop()
			third.lostNothing()

			// Providers drop it, too.
			afterA := w.provider("after-a", after)
			bothA.stop()
			bothB.stop()
			fourth.answered("after-a", "kube-only")
			w.judges(zookeeper.Left)
			w.zk.Kill(t)
			kubeOnly.stop()
			fourth.answered("after-a")
			fourth.stop()
			if n := fourth.lostNothing(); n == 0 {
				t.Error("nothing was called")
			}
			afterA.stop()
		})
	}
}

// ZooKeeper ends in the middle of the move, and comes back.
func TestZooKeeperDyingOnTheWayLosesNoCall(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	for name, byApplication := range map[string]bool{"by interface": false, "by application": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c)
			both := processConfig{ZooKeeper: w.zk.Address(), ByApplication: byApplication, Kubeconfig: "yes", Prefer: "zookeeper"}
			a := w.provider("a", both)
			consumer := w.start(orders, "consumer", both)
			consumer.answered("a")
			w.zk.Kill(t)
			consumer.says("out of touch with ZooKeeper")

			// Providers and consumers that start now do, and find one another.
			b := w.provider("b", both)
			late := w.start(orders, "late", both)
			late.answered("a", "b")
			a.stop()
			late.answered("b")
			consumer.answered("b")

			// It comes back without what it knew. The provider that could not register
			// does, and is called by what ZooKeeper has.
			w.zk.Wipe(t)
			w.zk.Restart(t)
			w.judges(zookeeper.Ready)
			consumer.says("back in touch with ZooKeeper")
			consumer.answered("b")
			late.answered("b")
			// One that registers in ZooKeeper alone shows that it is followed again.
			d := w.provider("d", processConfig{ZooKeeper: w.zk.Address(), Plain: true, ByApplication: byApplication})
			consumer.answered("b", "d")
			if !byApplication { // where dubbo-go may miss that an interface has a mapping again
				late.answered("b", "d")
			}
			consumer.stop()
			late.stop()
			consumer.lostNothing()
			late.lostNothing()
			d.stop()
			b.stop()
		})
	}
}

// The API server is away: who starts registers in ZooKeeper, and is called.
func TestTheAPIServerBeingAwayDoesNotKeepFromZooKeeper(t *testing.T) {
	t.Parallel()
	own := testkube.StartOwn(t)
	// One after the other: they share what is taken away.
	for _, byApplication := range []bool{false, true} {
		w := newWorld(t, own)
		both := processConfig{ZooKeeper: w.zk.Address(), ByApplication: byApplication, Kubeconfig: "yes", Prefer: "zookeeper"}
		a := w.provider("a", both)
		consumer := w.start(orders, "consumer", both)
		consumer.answered("a")
		start := w.prepare(inventory, "b", both)
		own.Kill(t)
		b := start()
		b.says("serves before it is registered")
		consumer.answered("a", "b")
		own.Restart(t)
		b.says("msg=registered")
		w.ns.SetReady(t, "b", true)
		w.judges(zookeeper.Ready)
		consumer.stop()
		consumer.lostNothing()
		a.stop()
		b.stop()
	}
}

// judges waits for the verdict that weir registry diff gives.
func (w *world) judges(want zookeeper.Verdict) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkube.Deadline)
	defer cancel()
	client, err := zookeeper.Dial(ctx, zookeeper.Config{Servers: w.zk.Address()})
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	hub, err := kube.Open(ctx, kube.Config{REST: w.ns.Cluster.REST(), Namespaces: []string{w.ns.Name}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer hub.Close()
	app := registry.App{Namespace: w.ns.Name, Name: inventory}
	testkube.Eventually(w.t, fmt.Sprintf("the verdict %s", want), func() error {
		state, err := client.Read(ctx)
		if err != nil {
			return err
		}
		k := zookeeper.Known{Documents: map[string]registry.Document{}}
		if k.Snapshot, err = hub.Snapshot(ctx, app); err != nil {
			return err
		}
		for i := range k.Snapshot.Instances {
			if r := k.Snapshot.Instances[i].Revision; r != "" {
				k.Documents[r] = registry.ReadDocument(ctx, hub, app, r)
			}
		}
		if d := zookeeper.Compare(app, state.Apps[inventory], state.Unread, k); d.Verdict != want {
			return fmt.Errorf("it is %s: %s: %+v", d.Verdict, d.Why, d)
		}
		return nil
	})
}
