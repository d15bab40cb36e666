package zookeeper

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/registry/zookeeper"
)

// A consumer that knows interfaces in ZooKeeper and nothing else calls providers that
// register in Kubernetes and nowhere else, while those are replaced, the API server is
// away, and one control plane ends and another goes on.
func TestAConsumerThatKnowsInterfacesOnlyIsBridged(t *testing.T) {
	t.Parallel()
	own := testkube.StartOwn(t)
	w := newWorld(t, own)
	first := w.bridge("first")
	in := processConfig{Kubeconfig: "yes"}
	a, b := w.provider("a", in), w.provider("b", in)
	consumer := w.start(orders, "consumer", processConfig{ZooKeeper: w.zk.Address(), Plain: true})
	consumer.answered("a", "b")

	// A rolling restart.
	c := w.provider("c", in)
	consumer.answered("a", "b", "c")
	a.stop()
	consumer.answered("b", "c")

	// The control plane that writes ends, and another goes on.
	second := w.bridge("second")
	first()
	d := w.provider("d", in)
	consumer.answered("b", "c", "d")

	// While the API server is away nothing is removed, whoever starts.
	own.Kill(t)
	second()
	w.bridge("third")
	seen, _ := consumer.last()
	testkube.Eventually(t, "a hundred more calls", func() error {
		if now, _ := consumer.last(); now.OK < seen.OK+100 {
			return context.DeadlineExceeded
		}
		return nil
	})
	consumer.answered("b", "c", "d")
	own.Restart(t)
	b.stop()
	consumer.answered("c", "d")
	consumer.stop()
	consumer.lostNothing()
	c.stop()
	d.stop()
}

// bridge runs a bridge as a control plane does, and returns what ends it.
func (w *world) bridge(node string) (end func()) {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("bridge", node)
	hub, err := kube.Open(context.Background(), kube.Config{REST: w.ns.Cluster.REST(), Namespaces: []string{w.ns.Name}, Logger: log})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := zookeeper.NewBridge(hub, hub, zookeeper.BridgeConfig{
		ZooKeeper: zookeeper.Config{Servers: w.zk.Address()}, Name: "test", Apps: []string{w.ns.Name + "/" + inventory}, Protocols: []string{"dubbo", "tri"}, Node: node, Logger: log,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	end = func() {
		cancel()
		<-done
		hub.Close()
	}
	w.t.Cleanup(end)
	return end
}
