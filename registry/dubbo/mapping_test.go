package dubbo

import (
	"testing"

	"github.com/weirmesh/weir/registry"
)

// All that is stored gets lost, and the first provider that starts again stores its own
// part. Who does not start again is called on, as long as its instances offer the
// interface or nobody knows whether they do.
func TestAMappingThatCameBackInPart(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"inventory", "warehouse"} {
		r.offer(name, "r1", stock)
	}
	r.world.PutInstance(app("inventory"), callable("a", "10.0.0.1", "r1"))
	r.world.PutInstance(app("warehouse"), callable("w", "10.0.0.9", "r1"))
	l := r.subscribe(consumerURL(stock, "tri"))
	r.sees(l, "10.0.0.1", "10.0.0.9")
	for _, name := range []string{"inventory", "warehouse"} {
		if err := r.client.UnmapInterface(t.Context(), registry.Interface{Name: stock}, app(name)); err != nil {
			t.Fatal(err)
		}
	}
	r.world.PutInstance(app("inventory"), callable("b", "10.0.0.2", "r2"))
	r.offer("inventory", "r2", stock)
	r.sees(l, "10.0.0.1", "10.0.0.2", "10.0.0.9")
	// An instance of a revision that nobody has described yet.
	r.world.PutInstance(app("warehouse"), callable("w", "10.0.0.9", "r7"))
	eventually(t, "the old revision's instance leaves", func() bool { list, _ := l.last(); return len(list) == 2 })
	r.offer("stranger", "r1", stock) // the mapping changes once more
	r.world.PutInstance(app("stranger"), callable("s", "10.0.0.5", "r1"))
	r.sees(l, "10.0.0.1", "10.0.0.2", "10.0.0.5")
	r.offer("warehouse", "r7", "org.example.Other")
	eventually(t, "it is not followed once it is known to offer something else", func() bool {
		r.binding.mu.Lock()
		defer r.binding.mu.Unlock()
		return r.binding.watches[app("warehouse")] == nil
	})
}
