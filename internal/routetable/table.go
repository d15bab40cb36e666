// Package routetable keeps a copy of all routes for those who look at all of them.
package routetable

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/weirmesh/weir/gateway"
)

// Source tells what changed, as gateway.Source does.
type Source interface {
	Since(ctx context.Context, rev gateway.Revision) (gateway.Delta, error)
}

// Table is a copy of all routes, brought up to date by what changed since it was
// last asked for, so that looking at all of them is cheap. It is as safe for
// concurrent use as its source.
type Table struct {
	source Source

	mu    sync.Mutex
	state gateway.State
	view  *View // of state; nil when state has moved on
}

// New returns a table that has not read its source yet.
func New(source Source) *Table { return &Table{source: source} }

// View is the table at one revision. It is shared and never changed.
type View struct {
	gateway.State
	list []gateway.Version // by key
}

// Sorted returns the routes by key. The slice is shared.
func (v *View) Sorted() []gateway.Version { return v.list }

// Get returns a route that lives.
func (v *View) Get(key gateway.Key) (gateway.Version, bool) {
	version, ok := v.Routes[key]
	return version, ok
}

// Read returns the table as it is now.
func (t *Table) Read(ctx context.Context) (*View, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, err := t.source.Since(ctx, t.state.Revision)
	if err != nil {
		return nil, err
	}
	if before := t.state.Revision; !t.state.Apply(d) {
		// Another database took the place of the one before.
		if d, err = t.source.Since(ctx, 0); err != nil {
			t.state, t.view = gateway.State{}, nil
			return nil, err
		}
		t.state.Apply(d)
		t.view = nil
	} else if d.Full || d.Revision != before {
		t.view = nil
	}
	if t.view == nil {
		t.view = &View{State: t.state.Clone()}
		t.view.list = slices.SortedFunc(maps.Values(t.view.Routes), func(a, b gateway.Version) int {
			return a.Route.Key().Compare(b.Route.Key())
		})
	}
	return t.view, nil
}
