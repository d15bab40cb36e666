// Package pace starts work at a steady rate, whatever becomes of the work: an
// open loop, so that a stall shows as late and missed calls instead of hiding
// as fewer calls.
package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Pace is a rate with a bound. The zero value is not usable.
type Pace struct {
	// PerSecond is how many calls are due each second.
	PerSecond float64
	// Concurrency is how many may run at once. A call that is due while as many
	// run is not made, and counted as shed.
	Concurrency int

	started, shed atomic.Int64
}

// Started returns how many calls were started.
func (p *Pace) Started() int64 { return p.started.Load() }

// Shed returns how many calls were due and not made.
func (p *Pace) Shed() int64 { return p.shed.Load() }

// Run calls work with the number of the call and the time it was due, until ctx
// ends, then waits for what runs. Calls that the process was too late for are
// made at once, not left out.
func (p *Pace) Run(ctx context.Context, work func(n int64, due time.Time)) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, p.Concurrency)
	interval := time.Duration(float64(time.Second) / p.PerSecond)
	first := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); ; n++ {
		due := first.Add(time.Duration(n) * interval)
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case slots <- struct{}{}:
			p.started.Add(1)
			running.Go(func() {
				defer func() { <-slots }()
				work(n, due)
			})
		default:
			p.shed.Add(1)
		}
	}
}
