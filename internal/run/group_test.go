package run_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/run"
)

// diary records what happened in which order.
type diary struct {
	mu      sync.Mutex
	entries []string
}

func (d *diary) add(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf(format, args...))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

// before fails the test unless a stands before b.
func (d *diary) before(t *testing.T, a, b string) {
	t.Helper()
	all := d.all()
	i, j := slices.Index(all, a), slices.Index(all, b)
	if i < 0 || j < 0 || i > j {
		t.Errorf("want %q before %q in %q", a, b, all)
	}
}

func (d *diary) part(name string, needs ...string) run.Part {
	return run.Part{
		Name: name, Needs: needs,
		Start: func(context.Context) error { d.add("start %s", name); return nil },
		Watch: func(ctx context.Context) error { <-ctx.Done(); d.add("told %s", name); return ctx.Err() },
		Stop:  func(context.Context) error { d.add("stop %s", name); return nil },
	}
}

func TestGroupStartsAndStopsByNeed(t *testing.T) {
	var d diary
	g := &run.Group{}
	// Added in an order that is of no help.
	g.Add(d.part("shop", "kubernetes", "postgres"))
	g.Add(d.part("load", "shop"))
	g.Add(d.part("postgres"))
	g.Add(d.part("kubernetes"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.Observe = func(e run.Event) {
		if e.Part == "load" && e.State == run.Ready {
			cancel()
		}
	}
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, need := range []string{"postgres", "kubernetes"} {
		d.before(t, "start "+need, "start shop")
		d.before(t, "stop shop", "stop "+need)
	}
	d.before(t, "start shop", "start load")
	d.before(t, "stop load", "stop shop")
}

func TestGroupStopsTheUsedAfterItsUsers(t *testing.T) {
	var d diary
	console := d.part("console", "postgres")
	started := make(chan struct{})
	console.Start = func(context.Context) error { <-started; d.add("start console"); return nil }
	gateway := d.part("gateway")
	gateway.Uses = []string{"console"}
	gateway.Start = func(context.Context) error { d.add("start gateway"); close(started); return nil } // before what it uses
	g := &run.Group{}
	g.Add(gateway)
	g.Add(console)
	g.Add(d.part("postgres"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.Observe = func(e run.Event) {
		if e.Part == "console" && e.State == run.Ready {
			cancel()
		}
	}
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	d.before(t, "start gateway", "start console")
	d.before(t, "stop gateway", "stop console")
	d.before(t, "stop console", "stop postgres")
}

func TestGroupStartsSideBySide(t *testing.T) {
	// Each part's start waits for the other's: in a row they would never end.
	meet := make(chan struct{})
	part := func(name string, f func()) run.Part {
		return run.Part{Name: name, Start: func(context.Context) error { f(); return nil }}
	}
	g := &run.Group{}
	g.Add(part("a", func() { meet <- struct{}{} }))
	g.Add(part("b", func() { <-meet }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := 0
	g.Observe = func(e run.Event) {
		if e.State == run.Ready {
			if ready++; ready == 2 {
				cancel()
			}
		}
	}
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestGroupFirstFailureStopsAllWithItsCause(t *testing.T) {
	broken := errors.New("disk is full")
	for _, op := range []string{"start", "run"} {
		t.Run(op, func(t *testing.T) {
			var d diary
			bad := d.part("bad", "base")
			if op == "start" {
				bad.Start = func(context.Context) error { return broken }
			} else {
				bad.Watch = func(context.Context) error { return broken }
			}
			var cause error
			base := d.part("base")
			base.Watch = func(ctx context.Context) error {
				<-ctx.Done()
				cause = context.Cause(ctx)
				// An echo of the stop must not take the place of the cause.
				return errors.New("base: connection reset")
			}
			g := &run.Group{}
			g.Add(base)
			g.Add(bad)
			g.Add(d.part("never", "bad"))
			err := g.Run(t.Context())
			var pe *run.PartError
			if !errors.As(err, &pe) || pe.Part != "bad" || pe.Op != op || !errors.Is(err, broken) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != "bad: disk is full" {
				t.Errorf("reads %q", err)
			}
			if !errors.Is(cause, broken) {
				t.Errorf("the others were told %v", cause)
			}
			d.before(t, "stop bad", "stop base") // a failed start is cleaned up too
			if op == "start" && slices.Contains(d.all(), "start never") {
				t.Error("a part started whose need had failed")
			}
		})
	}
}

func TestPartErrorNamesThePartOnce(t *testing.T) {
	for want, e := range map[string]*run.PartError{
		"postgres: port taken":       {Part: "postgres", Op: "start", Err: errors.New("postgres: port taken")},
		"kubernetes: no node":        {Part: "kubernetes", Op: "run", Err: errors.New("no node")},
		"kubernetes: stop: too long": {Part: "kubernetes", Op: "stop", Err: errors.New("too long")},
	} {
		if e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
	}
}

func TestGroupGoesOnWhenAPartIsDone(t *testing.T) {
	var d diary
	job := d.part("job")
	job.Watch = func(context.Context) error { return nil }
	g := &run.Group{}
	g.Add(job)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	g.Observe = func(e run.Event) {
		if e.State == run.Done {
			cancel()
		}
	}
	if err := g.Run(ctx); err != nil {
		t.Fatal(err)
	}
	d.before(t, "start job", "stop job")
}

func TestGroupStopHasOneDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		slow := func(name string, needs ...string) run.Part {
			p := d.part(name, needs...)
			p.Stop = func(ctx context.Context) error { <-ctx.Done(); d.add("killed %s", name); return context.Cause(ctx) }
			return p
		}
		g := &run.Group{StopTimeout: 10 * time.Second}
		g.Add(slow("under"))
		g.Add(slow("over", "under"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var times []time.Duration
		began := time.Now()
		g.Observe = func(e run.Event) {
			if e.State == run.Ready && e.Part == "over" {
				cancel()
			}
			if e.State == run.Stopped {
				times = append(times, time.Since(began))
			}
		}
		err := g.Run(ctx)
		if !errors.Is(err, run.ErrDeadline) || !strings.Contains(err.Error(), "over: stop:") || !strings.Contains(err.Error(), "under: stop:") {
			t.Errorf("got %v", err)
		}
		d.before(t, "killed over", "killed under")
		if want := []time.Duration{10 * time.Second, 10 * time.Second}; !slices.Equal(times, want) {
			t.Errorf("stopped after %v, want %v", times, want)
		}
	})
}

func TestGroupForceCutsTheStopShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		force, cancelForce := context.WithCancel(context.Background())
		g := &run.Group{StopTimeout: time.Hour, Force: force}
		g.Add(run.Part{Name: "slow", Stop: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }})
		ctx, cancel := context.WithCancel(t.Context())
		g.Observe = func(e run.Event) {
			switch e.State {
			case run.Ready:
				cancel()
			case run.Stopping:
				cancelForce()
			}
		}
		began := time.Now()
		if err := g.Run(ctx); !errors.Is(err, run.ErrForced) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

// A part that never lets go must neither hang the process nor keep what it
// needs from being stopped.
func TestGroupGivesUpOnAStuckPart(t *testing.T) {
	for _, stuckIn := range []string{"start", "stop"} {
		t.Run(stuckIn, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d diary
				never := make(chan struct{})
				defer close(never)
				stuck := run.Part{Name: "stuck", Needs: []string{"base"}}
				if stuckIn == "start" {
					stuck.Start = func(context.Context) error { <-never; return nil }
				} else {
					stuck.Stop = func(context.Context) error { <-never; return nil }
				}
				g := &run.Group{StopTimeout: time.Second}
				g.Add(d.part("base"))
				g.Add(stuck)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				g.Observe = func(e run.Event) {
					if e.Part == "stuck" && (e.State == run.Ready || stuckIn == "start" && e.State == run.Starting) {
						cancel()
					}
				}
				err := g.Run(ctx)
				if err == nil || !strings.Contains(err.Error(), "stuck: stop: the stop took too long (over 1s), and it has not let go") {
					t.Errorf("got %v", err)
				}
				d.before(t, "start base", "stop base")
			})
		})
	}
}

func TestGroupRefusesWhatCannotStart(t *testing.T) {
	started := false
	part := func(name string, needs ...string) run.Part {
		return run.Part{Name: name, Needs: needs, Start: func(context.Context) error { started = true; return nil }}
	}
	using := func(name string, uses ...string) run.Part { return run.Part{Name: name, Uses: uses} }
	for want, parts := range map[string][]run.Part{
		`run: two parts are named "a"`:                          {part("a"), part("a")},
		`run: a needs "b", which is not in the group`:           {part("a", "b")},
		`run: parts need each other: a needs b needs a`:         {part("a", "b"), part("b", "a")},
		`run: parts need each other: me needs me`:               {part("me", "me")},
		`run: parts need each other: x needs a needs b needs a`: {part("x", "a"), part("a", "b"), part("b", "a")},
		`run: a uses "b", which is not in the group`:            {using("a", "b")},
		`run: parts need each other: u needs v needs u`:         {using("u", "v"), part("v", "u")},
	} {
		g := &run.Group{}
		for _, p := range parts {
			g.Add(p)
		}
		if err := g.Run(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if started {
		t.Error("a part was started")
	}
}

// TestGroupStress runs random groups that fail or are stopped at random moments
// and checks what must hold in each of them.
func TestGroupStress(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			n := 1 + rnd.IntN(8)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var mu sync.Mutex
			state := make(map[string]string)
			needs := make(map[string][]string)
			neededBy := make(map[string][]string)
			set := func(name, to string) {
				mu.Lock()
				defer mu.Unlock()
				from := state[name]
				switch to {
				case "started":
					if from != "" {
						t.Errorf("%s started when %q", name, from)
					}
					for _, need := range needs[name] {
						if state[need] != "started" {
							t.Errorf("%s started while its need %s is %q", name, need, state[need])
						}
					}
				case "stopped":
					if from == "stopped" {
						t.Errorf("%s stopped twice", name)
					}
					for _, user := range neededBy[name] {
						if state[user] == "started" {
							t.Errorf("%s stopped while %s runs", name, user)
						}
					}
				}
				state[name] = to
			}
			broken := errors.New("broken")
			g := &run.Group{}
			for i := range n {
				name := fmt.Sprintf("p%d", i)
				for j := range i {
					if rnd.IntN(3) == 0 {
						need := fmt.Sprintf("p%d", j)
						needs[name] = append(needs[name], need)
						neededBy[need] = append(neededBy[need], name)
					}
				}
				fate := rnd.IntN(10)
				g.Add(run.Part{
					Name: name, Needs: needs[name],
					Start: func(context.Context) error {
						set(name, "started")
						if fate == 0 {
							return broken
						}
						return nil
					},
					Watch: func(ctx context.Context) error {
						switch fate {
						case 1:
							return broken
						case 2:
							return nil
						case 3:
							cancel()
						}
						<-ctx.Done()
						return context.Cause(ctx)
					},
					Stop: func(context.Context) error { set(name, "stopped"); return nil },
				})
			}
			if rnd.IntN(2) == 0 {
				go cancel()
			} else {
				ready := 0
				g.Observe = func(e run.Event) {
					if e.State == run.Ready {
						if ready++; ready == n {
							cancel()
						}
					}
				}
			}
			if err := g.Run(ctx); err != nil && !errors.Is(err, broken) {
				t.Error(err)
			}
			for name, s := range state {
				if s != "stopped" {
					t.Errorf("%s is %q after Run", name, s)
				}
			}
		})
	}
}
