package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultStopTimeout is how long a Group takes to stop when nothing else was said.
const DefaultStopTimeout = 30 * time.Second

// overtime is what parts get to return once their deadline has passed or the
// stop was forced: time to kill what they hold, not to go on waiting for it.
const overtime = 5 * time.Second

// Part is one thing with a life of its own inside a Group. Functions may be nil.
type Part struct {
	// Name identifies the part in Needs, events and errors.
	Name string

	// Needs names the parts that must be started before this one starts, and
	// that are stopped only after this one has stopped.
	Needs []string

	// Uses names parts that this one works with where they are there, but starts
	// without: they are stopped only after this one has stopped.
	Uses []string

	// Start brings the part up and returns once it can be used. ctx ends as soon
	// as the group is to stop; Start then returns soon, with any error. What
	// Start leaves behind when it fails is cleaned up by Stop.
	Start func(ctx context.Context) error

	// Watch blocks while the started part works and returns an error once it
	// has failed by itself. Returning nil says that the part has done its work,
	// which is no reason to stop the others. ctx ends when the group is to stop.
	Watch func(ctx context.Context) error

	// Stop ends the part. It is called once if Start was called, even if that
	// failed, and never while Start runs. ctx carries the deadline shared by the
	// whole group; once it has ended, Stop lets go by force and returns.
	Stop func(ctx context.Context) error
}

// State is where a part of a Group is in its life.
type State string

// States of a part.
const (
	Waiting  State = "waiting"  // for what it needs
	Starting State = "starting" // Start runs
	Ready    State = "ready"    // started
	Done     State = "done"     // its work is over; the others go on
	Failed   State = "failed"   // Start or Watch returned an error
	Stopping State = "stopping" // Stop runs
	Stopped  State = "stopped"
)

// Event tells that a part has changed its state.
type Event struct {
	Part  string
	State State
	// Err is why, where the state is Failed, or what Stop returned where it is
	// Stopped.
	Err error
	// Took is how long the start or stop that has just ended took.
	Took time.Duration
}

// Group runs parts together. A part starts as soon as everything it needs is
// ready, so parts that do not need one another start side by side. The first
// failure, or the end of the context, stops all parts, each after those that
// need it, under one deadline. The zero value is ready to use; a Group runs once.
type Group struct {
	// StopTimeout bounds the whole stop, DefaultStopTimeout when zero.
	StopTimeout time.Duration

	// Force, when it ends, cuts a running stop short: parts let go by force. It
	// may be nil.
	Force context.Context //nolint:containedctx // the second, harder end of the same life as Run's context

	// Observe is called with each event, one at a time, from the group's own
	// goroutines; it must return soon. It may be nil.
	Observe func(Event)

	parts   []*member
	observe sync.Mutex
}

type member struct {
	Part
	needs   []*member
	uses    []*member
	needed  []*member     // those that need or use this one
	ready   chan struct{} // closed once Start has succeeded
	idle    chan struct{} // closed once Start and Watch have returned, or are never to be called
	ended   chan struct{} // closed once stopped, given up on, or never started
	started bool          // Start was called; settled when idle closes
}

// PartError is a failure of one part.
type PartError struct {
	Part string
	Op   string // "start", "run" or "stop"
	Err  error
}

// Error returns "part: cause"; only a failed stop is worth its verb. A cause
// that names the part itself is left as it is.
func (e *PartError) Error() string {
	text := e.Err.Error()
	switch {
	case e.Op == "stop":
		return e.Part + ": stop: " + text
	case strings.HasPrefix(text, e.Part+": "):
		return text
	}
	return e.Part + ": " + text
}

// Unwrap returns the cause.
func (e *PartError) Unwrap() error { return e.Err }

// Causes with which the context of a Stop ends.
var (
	ErrForced   = errors.New("the stop was forced")
	ErrDeadline = errors.New("the stop took too long")
)

// Add adds a part. It must not be called after Run.
func (g *Group) Add(p Part) { g.parts = append(g.parts, &member{Part: p}) }

// Run starts the parts and blocks until all have stopped. It returns nil when
// ctx ended and every part stopped cleanly, otherwise the first failure, joined
// with what went wrong while stopping. A need that is not there, a name given
// twice, or parts that need each other in a circle are errors before anything
// is started.
func (g *Group) Run(ctx context.Context) error {
	if err := g.link(); err != nil {
		return err
	}
	live, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var mu sync.Mutex
	var failure error
	fail := func(m *member, op string, err error) {
		mu.Lock()
		defer mu.Unlock()
		if failure == nil {
			failure = &PartError{Part: m.Name, Op: op, Err: err}
			cancel(failure)
		}
	}
	for _, m := range g.parts {
		go g.work(live, m, fail)
	}
	<-live.Done()
	stopErr := g.stop(context.WithoutCancel(live))
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(failure, stopErr)
}

// work takes one part through its life up to the stop.
func (g *Group) work(live context.Context, m *member, fail func(*member, string, error)) {
	defer close(m.idle)
	g.emit(Event{Part: m.Name, State: Waiting})
	for _, need := range m.needs {
		select {
		case <-need.ready:
		case <-live.Done():
			return
		}
	}
	if live.Err() != nil {
		return
	}
	m.started = true
	began := time.Now()
	g.emit(Event{Part: m.Name, State: Starting})
	if m.Start != nil {
		if err := m.Start(live); err != nil {
			g.failed(live, m, "start", err, fail)
			return
		}
	}
	g.emit(Event{Part: m.Name, State: Ready, Took: time.Since(began)})
	close(m.ready)
	if m.Watch == nil {
		return
	}
	switch err := m.Watch(live); {
	case err != nil:
		g.failed(live, m, "run", err, fail)
	case live.Err() == nil:
		g.emit(Event{Part: m.Name, State: Done})
	}
}

// failed records a failure, unless it is a mere echo of the group's own stop.
func (g *Group) failed(live context.Context, m *member, op string, err error, fail func(*member, string, error)) {
	if live.Err() != nil {
		return
	}
	g.emit(Event{Part: m.Name, State: Failed, Err: err})
	fail(m, op, err)
}

// stop stops every part that was started, each after those that need it, and
// gives up on those that outlast the deadline and their overtime.
func (g *Group) stop(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := g.StopTimeout
	if limit <= 0 {
		limit = DefaultStopTimeout
	}
	deadline := time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w (over %s)", ErrDeadline, limit)) })
	defer deadline.Stop()
	if g.Force != nil {
		defer context.AfterFunc(g.Force, func() { cancel(ErrForced) })()
	}

	errs := make([]error, len(g.parts))
	var all sync.WaitGroup
	for i, m := range g.parts {
		all.Go(func() {
			defer close(m.ended)
			for _, n := range m.needed {
				<-n.ended
			}
			errs[i] = g.stopPart(ctx, m)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (g *Group) stopPart(ctx context.Context, m *member) error {
	if !within(ctx, m.idle) {
		err := &PartError{Part: m.Name, Op: "stop", Err: fmt.Errorf("%w, and it has not let go", context.Cause(ctx))}
		g.emit(Event{Part: m.Name, State: Stopped, Err: err.Err})
		return err
	}
	if !m.started {
		return nil
	}
	began := time.Now()
	g.emit(Event{Part: m.Name, State: Stopping})
	var err error
	if m.Stop != nil {
		done := make(chan struct{})
		var stopErr error
		go func() {
			defer close(done)
			stopErr = m.Stop(ctx)
		}()
		if within(ctx, done) {
			err = stopErr
		} else {
			err = fmt.Errorf("%w, and it has not let go", context.Cause(ctx))
		}
	}
	g.emit(Event{Part: m.Name, State: Stopped, Err: err, Took: time.Since(began)})
	if err != nil {
		return &PartError{Part: m.Name, Op: "stop", Err: err}
	}
	return nil
}

// within waits for done until ctx has ended and the overtime after it has passed.
func within(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	over := time.NewTimer(overtime)
	defer over.Stop()
	select {
	case <-done:
		return true
	case <-over.C:
		return false
	}
}

func (g *Group) emit(e Event) {
	if g.Observe == nil {
		return
	}
	g.observe.Lock()
	defer g.observe.Unlock()
	g.Observe(e)
}

// link resolves the names in Needs and refuses groups that could never start.
func (g *Group) link() error {
	byName := make(map[string]*member, len(g.parts))
	for _, m := range g.parts {
		if byName[m.Name] != nil {
			return fmt.Errorf("run: two parts are named %q", m.Name)
		}
		byName[m.Name] = m
		m.ready, m.idle, m.ended = make(chan struct{}), make(chan struct{}), make(chan struct{})
	}
	for _, m := range g.parts {
		for _, name := range m.Needs {
			need := byName[name]
			if need == nil {
				return fmt.Errorf("run: %s needs %q, which is not in the group", m.Name, name)
			}
			m.needs = append(m.needs, need)
			need.needed = append(need.needed, m)
		}
		for _, name := range m.Uses {
			used := byName[name]
			if used == nil {
				return fmt.Errorf("run: %s uses %q, which is not in the group", m.Name, name)
			}
			m.uses = append(m.uses, used)
			used.needed = append(used.needed, m)
		}
	}
	settled := make(map[*member]bool, len(g.parts))
	var visit func(m *member, path []string) error
	visit = func(m *member, path []string) error {
		if slices.Contains(path, m.Name) {
			return fmt.Errorf("run: parts need each other: %s", strings.Join(append(path, m.Name), " needs "))
		}
		if settled[m] {
			return nil
		}
		for _, need := range slices.Concat(m.needs, m.uses) {
			if err := visit(need, append(path, m.Name)); err != nil {
				return err
			}
		}
		settled[m] = true
		return nil
	}
	for _, m := range g.parts {
		if err := visit(m, nil); err != nil {
			return err
		}
	}
	return nil
}
