package api

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/weirmesh/weir/gateway"
)

// table keeps a copy of all routes, brought up to date by what changed since it
// was last asked for, so that looking at all of them is cheap. It is as safe for
// concurrent use as its source.
type table struct {
	source gateway.Source

	mu    sync.Mutex
	state gateway.State
	view  *view // of state; nil when state has moved on
}

// view is the table at one revision. It is shared and never changed.
type view struct {
	gateway.State
	list []gateway.Version // by key
}

func (v *view) sorted() []gateway.Version { return v.list }

func (v *view) get(key gateway.Key) (gateway.Version, bool) {
	version, ok := v.Routes[key]
	return version, ok
}

// read returns the table as it is now.
func (t *table) read(ctx context.Context) (*view, error) {
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
		t.view = &view{State: t.state.Clone()}
		t.view.list = slices.SortedFunc(maps.Values(t.view.Routes), func(a, b gateway.Version) int {
			return a.Route.Key().Compare(b.Route.Key())
		})
	}
	return t.view, nil
}
