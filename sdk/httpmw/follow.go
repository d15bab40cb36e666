package httpmw

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Names of hosts may be made up by somebody else, as those of webhooks are. So an
// application is followed for good once the registry knows it: there are no more of
// those than there are. Strangers, of which it knows nothing, are few at a time: the
// one that was called longest ago makes room, and is asked for again when it is
// called again. Namespaces of strangers are fewer still, since a registry may have to
// watch each of them.
const (
	maxStrangers = 500
	// maxNamespaces bounds those that hosts name, and that neither the program names
	// nor hold an application that is known.
	maxNamespaces = 50
	// strangerFor is how long a stranger is followed that nobody calls.
	strangerFor = 10 * time.Minute
	sweepEvery  = time.Minute
)

func newFinder(reg registry.Discoverer) *finder {
	return &finder{
		reg: reg, apps: make(map[registry.App]*found), strangers: make(map[registry.App]*found), spaces: make(map[string]bool),
		connectTimeout: defaultConnectTimeout,
	}
}

// errEnded is for an application that made room before it was followed.
var errEnded = errors.New("httpmw: followed no more")

// follow returns an application's entry. One that is kept is of the program's own
// choice, and makes room for nobody.
func (f *finder) follow(app registry.App, kept bool) (*found, error) {
	now := time.Now()
	for {
		e, err := f.entry(app, kept, now)
		if err != nil {
			return nil, err
		}
		switch err := e.subscribe(); err {
		case nil:
			return e, nil
		case errEnded: //nolint:errorlint // it is never wrapped
		default:
			f.drop(e)
			return nil, err
		}
	}
}

// entry returns an application's entry, which may not be subscribed yet.
func (f *finder) entry(app registry.App, kept bool, now time.Time) (*found, error) {
	f.mu.RLock()
	e := f.apps[app]
	f.mu.RUnlock()
	if e != nil {
		e.used.Store(now.UnixNano())
		return e, nil
	}
	if err := app.Validate(); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if e := f.apps[app]; e != nil {
		f.mu.Unlock()
		return e, nil
	}
	if _, asked := f.spaces[app.Namespace]; !asked && !kept && !f.named(app.Namespace) {
		if f.unproven() >= maxNamespaces {
			f.mu.Unlock()
			return nil, fmt.Errorf("hosts have named %d namespaces in which no application is known, and no more are asked for: give Discover the Namespaces whose applications are called", maxNamespaces)
		}
		f.spaces[app.Namespace] = false
	}
	var gone *found
	if len(f.strangers) >= maxStrangers {
		for _, s := range f.strangers {
			if gone == nil || s.used.Load() < gone.used.Load() {
				gone = s
			}
		}
		f.forget(gone)
	}
	e = newFound(f, app)
	e.used.Store(now.UnixNano())
	f.apps[app] = e
	if e.kept = kept; !kept {
		f.strangers[app] = e
		f.sweepLater()
	}
	f.mu.Unlock()
	if gone != nil {
		gone.end()
	}
	return e, nil
}

// named reports whether a namespace is the program's own, or one that it named.
func (f *finder) named(namespace string) bool {
	return namespace == f.self.Namespace || slices.Contains(f.namespaces, namespace)
}

// unproven counts namespaces of which no application is known. f.mu is held.
func (f *finder) unproven() int {
	n := 0
	for _, proven := range f.spaces {
		if !proven {
			n++
		}
	}
	return n
}

// forget takes an entry off the list. f.mu is held; the entry has to be ended once it
// is not.
func (f *finder) forget(e *found) {
	if f.apps[e.app] == e {
		delete(f.apps, e.app)
		delete(f.strangers, e.app)
	}
}

// drop ends an entry that is of no use.
func (f *finder) drop(e *found) {
	f.mu.Lock()
	f.forget(e)
	f.mu.Unlock()
	e.end()
}

// place notes whether the registry knows an application, as it was told last.
func (f *finder) place(e *found) {
	known := e.snapshot.Load().Known()
	f.mu.RLock()
	_, stranger := f.strangers[e.app]
	f.mu.RUnlock()
	if known != stranger {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch known = e.snapshot.Load().Known(); {
	case f.apps[e.app] != e || e.kept:
	case known:
		delete(f.strangers, e.app)
		if _, asked := f.spaces[e.app.Namespace]; asked {
			f.spaces[e.app.Namespace] = true
		}
	default:
		f.strangers[e.app] = e // it was deleted
		f.sweepLater()
	}
}

// sweepLater has strangers looked at in a while. f.mu is held.
func (f *finder) sweepLater() {
	if !f.sweeping {
		f.sweeping = true
		time.AfterFunc(sweepEvery, f.sweep)
	}
}

// sweep ends strangers that nobody calls any more.
func (f *finder) sweep() {
	before := time.Now().Add(-strangerFor).UnixNano()
	var gone []*found
	f.mu.Lock()
	f.sweeping = false
	for _, e := range f.strangers {
		if e.used.Load() < before {
			f.forget(e)
			gone = append(gone, e)
		}
	}
	if len(f.strangers) > 0 {
		f.sweepLater()
	}
	f.mu.Unlock()
	for _, e := range gone {
		e.end()
	}
}
