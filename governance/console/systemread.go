package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/registry"
)

// system finds out how everything is, once for all who ask within a moment.
type system struct {
	deps  SystemDeps
	known *shared[found]
}

// found is what was found out. It is never changed once it is handed out.
type found struct {
	time     time.Time
	self     node.Node
	database SystemDatabase
	unknown  []SystemUnknown
	registry foundRegistry
	stored
}

// stored is what comes from the database.
type stored struct {
	heard                time.Time // when the database answered last
	controls, collectors []node.Node
	gateways             []gateway.Node
	revision             gateway.Revision // of the routes
	staged, unlinked     []node.Queue
	governance, tracing  []node.Partition
	sdks                 []node.SDK
}

type foundRegistry struct {
	apps    []registry.App
	stale   time.Time
	unknown string
}

// read returns what is known now, or was a moment ago.
func (s *system) read(ctx context.Context) (*found, error) { return s.known.read(ctx, s.find) }

// find asks everybody, side by side. It takes no longer than Patience.
func (s *system) find(ctx context.Context, last *found) *found {
	ctx, cancel := context.WithTimeout(ctx, s.deps.Patience)
	defer cancel()
	f := &found{}
	if last != nil {
		f.stored = last.stored // what cannot be asked now is told as it was
	}
	var all sync.WaitGroup
	all.Go(func() { f.registry = s.askRegistry(ctx) })
	all.Go(func() { s.askDatabase(ctx, f, last) })
	all.Wait()
	f.time, f.self = s.deps.Now().UTC(), s.deps.Self()
	f.self.Role, f.self.Seen = roleControl, f.time
	return f
}

// noCluster is why the registry is not known where there is none.
const noCluster = "this control plane looks after no cluster"

// askRegistry asks of one application whether the registry is in touch, since all
// share its watches.
func (s *system) askRegistry(ctx context.Context) (r foundRegistry) {
	if s.deps.Registry == nil {
		return foundRegistry{unknown: noCluster}
	}
	apps, err := s.deps.Registry.Apps(ctx, "")
	if err != nil {
		return foundRegistry{unknown: registry.Text(err)}
	}
	r.apps = apps
	if len(apps) > 0 {
		if snapshot, err := s.deps.Registry.Snapshot(ctx, apps[0]); err == nil {
			r.stale = snapshot.StaleSince
		}
	}
	return r
}

// askDatabase asks the database whether it is there, and then its parts, side by
// side, for what they hold: one question after the other each, so that no more
// connections are taken from others than there are parts.
func (s *system) askDatabase(ctx context.Context, f, last *found) {
	about, err := within(ctx, func(ctx context.Context) (node.Database, error) {
		// Less than all of the time: so that what it says of it can be told.
		ctx, cancel := context.WithTimeout(ctx, s.deps.Patience*3/4)
		defer cancel()
		return s.deps.Database(ctx)
	})
	if errors.Is(err, errNoAnswer) {
		err = errors.New(noAnswer(s.deps.Patience))
	}
	if err != nil {
		f.database = SystemDatabase{Error: err.Error(), AsOf: f.heard}
		if s.deps.Heard != nil {
			f.database.Since = s.deps.Heard()
		}
		return
	}
	f.heard = s.deps.Now().UTC()
	f.database = SystemDatabase{OK: true, Version: about.Version, Bytes: about.Bytes, Connections: about.Connections, MaxConnections: about.MaxConnections}
	a := &asking{patience: s.deps.Patience}
	var all sync.WaitGroup
	part := func(questions func(context.Context)) { all.Go(func() { questions(ctx) }) }
	part(func(ctx context.Context) {
		ask(ctx, a, "control planes", s.deps.Governance.Nodes, &f.controls)
		ask(ctx, a, "SDKs", s.deps.Fleet.SDKs, &f.sdks)
		ask(ctx, a, "reports that wait", s.deps.Governance.Queues, &f.staged)
		ask(ctx, a, "tables of governance", s.deps.Governance.Partitions, &f.governance)
	})
	part(func(ctx context.Context) {
		ask(ctx, a, "collectors", s.deps.Tracing.Nodes, &f.collectors)
		ask(ctx, a, "traces that wait", s.deps.Tracing.Queues, &f.unlinked)
		ask(ctx, a, "tables of tracing", s.deps.Tracing.Partitions, &f.tracing)
	})
	part(func(ctx context.Context) {
		// The revision first: a gateway that serves a newer one is current too.
		ask(ctx, a, "the routes' revision", s.deps.Gateways.Revision, &f.revision)
		ask(ctx, a, "gateways", s.deps.Gateways.Nodes, &f.gateways)
	})
	all.Wait()
	f.unknown = a.told()
	var before []SystemUnknown
	if last != nil {
		before = last.unknown
	}
	a.log(ctx, s.deps.Log, before)
}

// asking gathers what could not be found out.
type asking struct {
	patience time.Duration

	mu      sync.Mutex
	unknown []SystemUnknown
	errs    []error // behind them
}

// told is what could not be found out.
func (a *asking) told() []SystemUnknown {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.unknown)
}

// errNoAnswer is that nobody waits for an answer any longer.
var errNoAnswer = errors.New("no answer in time")

func noAnswer(patience time.Duration) string { return fmt.Sprintf("no answer within %s", patience) }

// within asks a question, and waits for the answer no longer than ctx lasts: what
// hangs may take seconds more to let go of who asked. The error is then errNoAnswer,
// and what is answered later is passed over.
func within[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	type result struct {
		answer T
		err    error
	}
	var none T
	if ctx.Err() != nil {
		return none, errNoAnswer
	}
	answered := make(chan result, 1)
	go func() {
		answer, err := question(ctx)
		answered <- result{answer, err}
	}()
	select {
	case r := <-answered:
		return r.answer, r.err
	case <-ctx.Done():
		return none, errNoAnswer
	}
}

// ask puts an answer in its place, or leaves what is there.
func ask[T any](ctx context.Context, a *asking, what string, question func(context.Context) (T, error), into *T) (answered bool) {
	answer, err := within(ctx, question)
	if err == nil {
		*into = answer
		return true
	}
	why := httpapi.Text(err)
	if ctx.Err() != nil || errors.Is(err, errNoAnswer) {
		why = noAnswer(a.patience)
	}
	a.say(what, why)
	a.mu.Lock()
	a.errs = append(a.errs, fmt.Errorf("%s: %w", what, err))
	a.mu.Unlock()
	return false
}

// log writes what clients are not told, once for as long as something is not known.
func (a *asking) log(ctx context.Context, log *slog.Logger, before []SystemUnknown) {
	if len(before) == 0 && len(a.errs) > 0 {
		log.WarnContext(ctx, "the console cannot find out everything", "error", errors.Join(a.errs...))
	}
}

// say notes that something could not be found out.
func (a *asking) say(what, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.unknown = append(a.unknown, SystemUnknown{What: what, Why: why})
}
