package console

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/routetable"
	"github.com/weirmesh/weir/registry"
)

// observer finds out what the overview and the state of routes are made of, once
// for all who ask within a moment: many pages ask again and again.
type observer struct {
	deps   Deps
	system *system
	table  *routetable.Table
	known  *shared[facts]

	mu      sync.Mutex
	numbers map[time.Duration]*shared[numbers] // by window
}

func newObserver(d Deps, s *system) *observer {
	return &observer{
		deps: d, system: s, table: routetable.New(d.Routes),
		known: newShared[facts](d.Fresh, d.Now), numbers: map[time.Duration]*shared[numbers]{},
	}
}

// facts are what was found out, of all namespaces. They are never changed once
// they are handed out.
type facts struct {
	time    time.Time
	gateway governance.App // as which gateways report
	system  *found         // nil while it is not known

	// What is kept from before where it cannot be asked.
	instances []governance.Instance
	switches  []governance.Version // in force
	versions  []governance.Version // of policies and switches, the newest first
	routes    *routetable.View     // nil while it is not known
	written   []gateway.Version    // what was last, the newest first
	gateways  []gateway.Node
	heard     bool                        // whether gateways are those of now
	apps      map[registry.App]registered // nil while it is not known
	unlisted  string                      // why apps are not those of now; the system view says it better
	unsure    map[registry.App]bool       // upstreams of which nobody knows whether there are any

	// What says nothing once it is old.
	numbers  *numbers // nil while they are not known
	circuits []governance.Circuit

	// behind are the instances that do not enforce what they should.
	behind []governance.Instance

	unknown  []SystemUnknown
	ailments []Attention // of what was found
}

// registered is one application of the registry.
type registered struct {
	registry.Summary
	stale time.Time
}

// foundCircuits are circuits, and whether there are more.
type foundCircuits struct {
	all []governance.Circuit
	cut bool
}

// numbers are what was counted over a window.
type numbers struct {
	over   time.Duration // that passed
	totals []governance.Total
	cut    bool // there are more
	err    error
}

// tooMany is why what was found out is not all there is.
const tooMany = "there are more than one question reads"

// recent is how many of the last writes are looked at.
const recent = 500

// read returns the facts of now, or of a moment ago.
func (o *observer) read(ctx context.Context) (*facts, error) { return o.known.read(ctx, o.find) }

// longest is how long an answer takes: a little more than what is asked for it, for
// what follows from that.
func (o *observer) longest() time.Duration { return o.deps.Patience + o.deps.Patience/10 }

// find asks every source, side by side, and gives what was answered by one deadline.
func (o *observer) find(ctx context.Context, last *facts) *facts {
	f := &facts{gateway: o.deps.Gateway}
	if last != nil {
		f.instances, f.switches, f.versions = last.instances, last.switches, last.versions
		f.routes, f.written, f.gateways, f.apps = last.routes, last.written, last.gateways, last.apps
	}
	whole, cancel := context.WithTimeout(ctx, o.longest())
	defer cancel()
	asked, enough := context.WithTimeout(whole, o.deps.Patience)
	defer enough()
	a := &asking{patience: o.deps.Patience}
	var all sync.WaitGroup
	source := func(questions func(context.Context)) { all.Go(func() { questions(asked) }) }
	source(func(ctx context.Context) {
		g := o.deps.Governance
		ask(ctx, a, "instances", func(ctx context.Context) ([]governance.Instance, error) { return g.Instances(ctx, governance.App{}) }, &f.instances)
		ask(ctx, a, "switches", func(ctx context.Context) ([]governance.Version, error) {
			list, _, err := g.List(ctx, governance.PolicyQuery{Kind: governance.KindSwitch})
			return list, err
		}, &f.switches)
		ask(ctx, a, "changes of policies", func(ctx context.Context) ([]governance.Version, error) { return g.Recent(ctx, recent) }, &f.versions)
		var circuits foundCircuits
		ask(ctx, a, "circuits", func(ctx context.Context) (c foundCircuits, err error) {
			c.all, c.cut, err = g.Circuits(ctx, governance.App{})
			return c, err
		}, &circuits)
		if f.circuits = circuits.all; circuits.cut {
			a.say("all circuits", tooMany)
		}
	})
	source(func(ctx context.Context) {
		ask(ctx, a, "numbers of calls", func(ctx context.Context) (*numbers, error) { return o.count(ctx, overviewWindow) }, &f.numbers)
		if f.numbers != nil && f.numbers.cut {
			a.say("all numbers of calls", tooMany)
		}
	})
	source(func(ctx context.Context) {
		// The routes first: a gateway that serves a newer revision is current too.
		ask(ctx, a, "routes", o.table.Read, &f.routes)
		f.heard = ask(ctx, a, "gateways", o.deps.Routes.Nodes, &f.gateways)
		ask(ctx, a, "changes of routes", func(ctx context.Context) ([]gateway.Version, error) { return o.deps.Routes.Recent(ctx, recent) }, &f.written)
	})
	if o.deps.System.Registry != nil {
		source(func(ctx context.Context) {
			apps, err := within(ctx, o.askRegistry)
			switch {
			case err == nil:
				f.apps = apps
			case ctx.Err() != nil:
				f.unlisted = noAnswer(o.deps.Patience)
			default:
				f.unlisted = registry.Text(err)
			}
		})
	}
	all.Go(func() { f.system, _ = within(whole, o.system.read) }) // nil where it has to wait for another answer
	all.Wait()
	if o.deps.System.Registry != nil && f.apps != nil && f.routes != nil {
		o.askUpstreams(whole, f)
	}
	f.time = o.deps.Now().UTC()
	var known bool
	if f.behind, known = o.deps.Behind(f.instances); !known {
		a.say("what instances should enforce", "the policies have not been read yet")
	}
	f.unknown = a.told()
	var before []SystemUnknown
	if last != nil {
		before = last.unknown
	}
	a.log(ctx, o.system.deps.Log, before)
	f.ailments = f.attention()
	return f
}

// askRegistry reads every application.
func (o *observer) askRegistry(ctx context.Context) (map[registry.App]registered, error) {
	r := o.deps.System.Registry
	list, err := r.Apps(ctx, "")
	if err != nil {
		return nil, err
	}
	apps := make(map[registry.App]registered, len(list))
	for _, app := range list {
		s, err := r.Snapshot(ctx, app)
		if err != nil {
			return nil, err
		}
		apps[app] = registered{Summary: registry.Summarize(s), stale: s.StaleSince}
	}
	return apps, nil
}

// mostUpstreams bounds how many applications are asked for that are not listed.
const mostUpstreams = 1000

// askUpstreams asks for the applications that routes lead to and the registry does
// not list: they do not exist, or are of a namespace that it does not look after.
func (o *observer) askUpstreams(ctx context.Context, f *facts) {
	apps, asked := maps.Clone(f.apps), map[registry.App]bool{}
	f.unsure = map[registry.App]bool{}
	for _, v := range f.routes.Sorted() {
		app, ok := upstreamOf(&v.Route)
		if _, listed := f.apps[app]; !ok || listed || asked[app] || len(asked) == mostUpstreams {
			continue
		}
		asked[app] = true
		s, err := o.deps.System.Registry.Snapshot(ctx, app)
		switch {
		case err != nil:
			f.unsure[app] = true
		case s.Known():
			apps[app] = registered{Summary: registry.Summarize(s), stale: s.StaleSince}
		}
	}
	f.apps = apps
}

// maxWindows bounds for how many windows numbers are kept.
const maxWindows = 16

const (
	// reportLag is how long what was counted in a second is on its way: what is
	// newer is not complete, and would make every rate too small.
	reportLag = 2 * time.Second
	// keptFine is the finest span that is kept of all applications.
	keptFine = 10 * time.Second
)

// count returns what every application counted over a window that ends now.
func (o *observer) count(ctx context.Context, window time.Duration) (*numbers, error) {
	o.mu.Lock()
	s := o.numbers[window]
	if s == nil {
		if len(o.numbers) >= maxWindows {
			clear(o.numbers) // they are counted again
		}
		s = newShared[numbers](o.deps.Fresh, o.deps.Now)
		o.numbers[window] = s
	}
	o.mu.Unlock()
	n, err := s.read(ctx, func(ctx context.Context, _ *numbers) *numbers {
		ctx, cancel := context.WithTimeout(ctx, o.deps.Patience)
		defer cancel()
		now := o.deps.Now()
		to := now.Truncate(time.Second).Add(-reportLag)
		from := to.Add(-window).Truncate(keptFine)
		n := &numbers{over: to.Sub(from)}
		all, err := within(ctx, func(ctx context.Context) (governance.Totals, error) {
			return o.deps.Governance.Totals(ctx, governance.TotalsQuery{From: from, To: now, Until: to})
		})
		n.totals, n.cut, n.err = all.Items, all.Cut, err
		return n
	})
	if err == nil {
		err = n.err
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}
