// Package registrytest is the conformance kit of registry: what every
// implementation of its interfaces must do, and how it fails. An implementation
// gets every test by default and opts out of what it cannot have.
package registrytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Deadline is how long a test waits for what must happen.
const Deadline = 60 * time.Second

// Client is an implementation, as one process holds it.
type Client interface {
	registry.Discoverer
	registry.Registrar
	registry.Mapping
	registry.MetadataStore
}

// Backend is the world of one test: empty, with a namespace of its own. The
// drivers return once the world is as they say; clients may hear of it later.
// Clients end with the test.
type Backend struct {
	// Namespace is where the test's applications live.
	Namespace string

	// Open returns a new client that looks on and may write anything but
	// instances: it runs in none.
	Open func(t *testing.T) Client
	// Process returns a client that runs in the named instance.
	Process func(t *testing.T, app registry.App, instance string) Client
	// Offline returns a client that cannot reach its registry, and never could.
	Offline func(t *testing.T) Client
	// Refused returns a client, in the named instance, without any right.
	Refused func(t *testing.T, app registry.App, instance string) Client
	// Cut returns a client whose link the test can cut and restore.
	Cut func(t *testing.T) (client Client, cut, restore func())

	// PutService makes an application exist, served at a port.
	PutService func(t *testing.T, app registry.App, port uint16)
	// SetMode changes how an application asks to be called.
	SetMode func(t *testing.T, app registry.App, mode registry.Mode)
	// PutInstance adds a ready instance that has registered nothing, and returns
	// its ID.
	PutInstance func(t *testing.T, app registry.App, name string) (id string)
	// SetReady changes the health of an instance.
	SetReady func(t *testing.T, app registry.App, name string, ready bool)
	// RemoveInstance takes an instance away for good.
	RemoveInstance func(t *testing.T, app registry.App, name string)
	// Disturb changes something about an instance that no receiver can see.
	Disturb func(t *testing.T, app registry.App, name string)
	// Forget loses what an instance registered.
	Forget func(t *testing.T, app registry.App, name string)
}

// Options opt out of what an implementation cannot have.
type Options struct {
	// NoDisturb: nothing about an instance is hidden from receivers.
	NoDisturb bool
}

// Run runs the whole kit. newBackend is called once for each test, and its
// world must not be seen by other tests.
func Run(t *testing.T, newBackend func(t *testing.T) *Backend, opts Options) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Discoverer", discovererTests},
		{"Registrar", registrarTests},
		{"Mapping", mappingTests},
		{"MetadataStore", metadataTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(&world{T: t, Backend: newBackend(t), opts: opts})
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(w *world)
}

// world is what one test works with.
type world struct {
	*testing.T
	*Backend
	opts Options
}

func (w *world) app(name string) registry.App {
	return registry.App{Namespace: w.Namespace, Name: name}
}

// ctx ends when the test may wait no longer.
func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	w.Cleanup(cancel)
	return ctx
}

// briefly ends soon: for questions that must not be answered.
func (w *world) briefly() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	w.Cleanup(cancel)
	return ctx
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// wantCode fails unless err has the code and says something.
func (w *world) wantCode(what string, err error, code registry.Code) {
	w.Helper()
	if got := registry.CodeOf(err); got != code {
		w.Fatalf("%s: error %v has code %q, want %q", what, err, got, code)
	}
}

// follow subscribes a recorder, and holds it to the rules of every subscription.
func (w *world) follow(d registry.Discoverer, app registry.App) *recorder {
	w.Helper()
	r := newRecorder(w.T)
	stop, err := d.Subscribe(app, r.notify)
	w.must(err)
	r.stop = stop
	w.Cleanup(stop)
	return r
}

// recorder takes snapshots in and checks what holds between any two of them.
type recorder struct {
	t    *testing.T
	stop func()

	mu      sync.Mutex
	busy    bool
	stopped bool
	hold    chan struct{} // while not nil, notify blocks on it
	all     []registry.Snapshot
	arrived chan struct{}
}

func newRecorder(t *testing.T) *recorder {
	return &recorder{t: t, arrived: make(chan struct{})}
}

func (r *recorder) notify(s registry.Snapshot) {
	r.mu.Lock()
	if r.busy {
		r.t.Errorf("calls of one subscription overlap at generation %d", s.Generation)
	}
	if r.stopped {
		r.t.Errorf("called after stop returned, with generation %d", s.Generation)
	}
	if n := len(r.all); n > 0 {
		last := r.all[n-1]
		if s.Generation <= last.Generation {
			r.t.Errorf("generation %d came after %d", s.Generation, last.Generation)
		}
		if s.Equal(last) {
			r.t.Errorf("generation %d says nothing that %d did not", s.Generation, last.Generation)
		}
	}
	if s.Observed.IsZero() {
		r.t.Errorf("generation %d does not say when it was observed", s.Generation)
	}
	if !slices.IsSortedFunc(s.Instances, cmpID) {
		r.t.Errorf("instances are not sorted by ID: %v", ids(s))
	}
	r.all = append(r.all, s)
	close(r.arrived)
	r.arrived = make(chan struct{})
	r.busy = true
	hold := r.hold
	r.mu.Unlock()
	if hold != nil {
		<-hold
	}
	r.mu.Lock()
	r.busy = false
	r.mu.Unlock()
}

// await returns the first snapshot, from the n-th on, for which ok holds.
func (r *recorder) await(what string, n int, ok func(registry.Snapshot) bool) registry.Snapshot {
	r.t.Helper()
	deadline := time.After(Deadline)
	for {
		r.mu.Lock()
		arrived := r.arrived
		for ; n < len(r.all); n++ {
			if ok(r.all[n]) {
				defer r.mu.Unlock()
				return r.all[n]
			}
		}
		last := "none came"
		if len(r.all) > 0 {
			last = describe(r.all[len(r.all)-1])
		}
		r.mu.Unlock()
		select {
		case <-arrived:
		case <-deadline:
			r.t.Fatalf("waiting for %s: %s", what, last)
		}
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

// end stops the subscription and notes that no call may come from now on.
func (r *recorder) end() {
	r.stop()
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
}

func describe(s registry.Snapshot) string {
	var text strings.Builder
	fmt.Fprintf(&text, "generation %d of %s, mode %s:", s.Generation, s.App, s.Mode)
	for _, i := range s.Instances {
		fmt.Fprintf(&text, " [%s %s %s registered=%v %s]", i.Name, i.Health, i.Details.State, i.Registered(), i.Why())
	}
	return text.String()
}

func cmpID(a, b registry.Instance) int {
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

func ids(s registry.Snapshot) []string {
	all := []string{}
	for _, i := range s.Instances {
		all = append(all, i.ID)
	}
	return all
}

// callable counts the instances that can be called.
func callable(n int) func(registry.Snapshot) bool {
	return func(s registry.Snapshot) bool { return len(s.Callable()) == n }
}

func anything(registry.Snapshot) bool { return true }

// instance returns the one with the ID, or nil.
func instance(s registry.Snapshot, id string) *registry.Instance {
	for i := range s.Instances {
		if s.Instances[i].ID == id {
			return &s.Instances[i]
		}
	}
	return nil
}
