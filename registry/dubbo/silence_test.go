package dubbo

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/registry/memory"
)

// References that are made one by one wait together for a registry that is away, and
// each for itself for one that has been heard.
func TestReferencesWaitTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := memory.New()
		backend, client := memoryBackend(t, world)
		r := newRigOn(t, world, client, backend)
		timeout := r.binding.cfg.SyncTimeout
		client.Cut()
		began := time.Now()
		refer := func(i int) *recorder {
			l := &recorder{}
			if err := r.reg.LoadSubscribeInstances(consumerURL(fmt.Sprintf("org.example.Stock%d", i), "tri"), l); err != nil {
				t.Fatal(err)
			}
			return l
		}
		var all []*recorder
		for i := range 100 {
			all = append(all, refer(i))
		}
		if waited := time.Since(began); waited > 2*timeout {
			t.Errorf("a hundred references waited for %s, each may for %s", waited, timeout)
		}
		r.restoreAndOffer(t, client, len(all))
		for i, l := range all {
			if list, _ := l.last(); len(list) != 1 {
				t.Errorf("reference %d sees %v", i, list)
			}
		}
		// Whom nobody knows a document of is waited for, by each that asks.
		r.world.PutInstance(app("orders"), callable("o", "10.0.0.9", "unknown"))
		began = time.Now()
		for range 2 {
			u := consumerURL("org.example.Orders", "tri", constant.ProvidedBy, "orders")
			if err := r.reg.LoadSubscribeInstances(u, &recorder{}); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != 2*timeout {
			t.Errorf("two references that are not served waited for %s, want %s each", waited, timeout)
		}
		r.binding.Close()
	})
}

// restoreAndOffer brings the registry back, with an instance that offers so many
// interfaces.
func (r *rig) restoreAndOffer(t *testing.T, client *memory.Client, count int) {
	t.Helper()
	var ifaces []string
	for i := range count {
		ifaces = append(ifaces, fmt.Sprintf("org.example.Stock%d", i))
	}
	client.Restore()
	r.offer("inventory", "r1", ifaces...)
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	time.Sleep(time.Minute) //nolint:forbidigo // it is the time of the bubble
	synctest.Wait()
}
