package dubbo

import (
	"fmt"
	"testing"

	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
)

// counter counts lists and does nothing with them.
type counter struct{ told chan int }

func (c *counter) Notify(*goregistry.ServiceEvent) {}

func (c *counter) NotifyAll(events []*goregistry.ServiceEvent, done func()) {
	done()
	c.told <- len(events)
}

// BenchmarkChange is the time from a change of one instance of an application to
// the end of NotifyAll, over the memory registry.
func BenchmarkChange(b *testing.B) {
	for _, size := range []int{25, 1000} {
		b.Run(fmt.Sprintf("of=%d", size), func(b *testing.B) {
			r := newRigFor(b)
			r.offer("inventory", "r1", stock)
			for n := range size {
				r.world.PutInstance(app("inventory"), callable(fmt.Sprintf("i%04d", n), fmt.Sprintf("10.0.%d.%d", n/250, n%250+1), "r1"))
			}
			c := &counter{told: make(chan int, 1)}
			if err := r.reg.Subscribe(consumerURL(stock, "tri"), c); err != nil {
				b.Fatal(err)
			}
			for <-c.told != size {
			}
			changed := callable("i0000", "10.0.0.1", "r1")
			weight := 100
			b.ReportAllocs()
			for b.Loop() {
				weight = 101 + weight%100
				changed.Details.Weight = weight
				r.world.PutInstance(app("inventory"), changed)
				<-c.told
			}
		})
	}
}
