package zookeeper

import (
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// A scrape finds the applications that are not written while that is told again.
func TestUnknownInstancesAreWholeAtAnyTime(t *testing.T) {
	t.Parallel()
	metrics := prometheus.NewRegistry()
	client := memory.New().Join(memory.Config{})
	defer client.Close()
	b, err := NewBridge(client, client, BridgeConfig{ZooKeeper: Config{Servers: "zk"}, Name: "n", Apps: []string{"shop/*"}, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	unknown := []Unknown{{App: inventory, Instances: 2}, {App: registry.App{Namespace: "shop", Name: "orders"}, Instances: 2}}
	b.wrote(1, map[registry.App]bool{}, unknown)
	var telling sync.WaitGroup
	done := make(chan struct{})
	telling.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				b.wrote(1, map[registry.App]bool{}, unknown)
			}
		}
	})
	defer telling.Wait()
	defer close(done)
	for range 500 {
		var sum float64
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "weir_registry_bridge_unknown_instances" {
				for _, m := range f.GetMetric() {
					sum += m.GetGauge().GetValue()
				}
			}
		}
		if sum != 4 {
			t.Fatalf("a scrape finds %v instances, want 4", sum)
		}
	}
}
