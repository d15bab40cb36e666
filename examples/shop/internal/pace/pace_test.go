package pace

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second-time.Millisecond)
		defer cancel()
		begin := time.Now()
		var mu sync.Mutex
		var dues []time.Duration
		p := &Pace{PerSecond: 20, Concurrency: 4}
		p.Run(ctx, func(_ int64, due time.Time) {
			mu.Lock()
			defer mu.Unlock()
			dues = append(dues, due.Sub(begin))
		})
		if len(dues) != 200 || p.Started() != 200 || p.Shed() != 0 {
			t.Fatalf("%d calls, %d started, %d shed in 10 s at 20/s", len(dues), p.Started(), p.Shed())
		}
		for i, d := range dues {
			if want := time.Duration(i) * 50 * time.Millisecond; d != want {
				t.Fatalf("call %d due after %v, want %v", i, d, want)
			}
		}
	})
}

// Slow work must neither slow the loop nor pile up without bound.
func TestRunShedsWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second-time.Millisecond)
		defer cancel()
		p := &Pace{PerSecond: 10, Concurrency: 3}
		var mu sync.Mutex
		running, most := 0, 0
		p.Run(ctx, func(int64, time.Time) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			<-time.After(time.Second) // of the bubble
			mu.Lock()
			running--
			mu.Unlock()
		})
		if most != 3 {
			t.Errorf("%d at once, want 3", most)
		}
		if p.Started()+p.Shed() != 50 || p.Shed() == 0 {
			t.Errorf("%d started and %d shed of 50 due", p.Started(), p.Shed())
		}
		if running != 0 {
			t.Errorf("Run returned with %d running", running)
		}
	})
}
