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
// watch each of them; the one that was named first makes room with all its strangers,
// once it has had its time to show an application.
const (
	maxStrangers = 500
	// maxNamespaces bounds those that hosts name, and that neither the program names
	// nor hold an application that is known.
	maxNamespaces = 50
	// spaceFor is that time. With maxNamespaces it bounds how fast made-up names have a
	// registry begin watches.
	spaceFor = 5 * time.Second
	// strangerFor is how long a stranger is followed that nobody calls.
	strangerFor = 10 * time.Minute
	sweepEvery  = time.Minute
)

func newFinder(reg registry.Discoverer) *finder {
	return &finder{
		reg: reg, apps: make(map[registry.App]*found), strangers: make(map[registry.App]*found), spaces: make(map[string]*asked),
		connectTimeout: defaultConnectTimeout,
	}
}

// asked is a namespace that hosts name.
type asked struct {
	since time.Time
	// apps are followed in it, known of them are applications that there are.
	apps, known int
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
	var gone []*found
	if f.spaces[app.Namespace] == nil && !kept && !f.named(app.Namespace) {
		var room bool
		if gone, room = f.makeRoom(now); !room {
			f.mu.Unlock()
			return nil, fmt.Errorf("hosts have named %d namespaces within seconds in which no application is known, and no more are asked for now: give Discover the Namespaces whose applications are called", maxNamespaces)
		}
		f.spaces[app.Namespace] = &asked{since: now}
	}
	if len(f.strangers) >= maxStrangers {
		var oldest *found
		for _, s := range f.strangers {
			if oldest == nil || s.used.Load() < oldest.used.Load() {
				oldest = s
			}
		}
		f.forget(oldest)
		gone = append(gone, oldest)
	}
	e = newFound(f, app)
	e.used.Store(now.UnixNano())
	f.apps[app] = e
	if e.space = f.spaces[app.Namespace]; e.space != nil {
		e.space.apps++
	}
	if e.kept = kept; !kept {
		f.strangers[app] = e
		f.sweepLater()
	}
	f.mu.Unlock()
	for _, g := range gone {
		g.end()
	}
	return e, nil
}

// named reports whether a namespace is the program's own, or one that it named.
func (f *finder) named(namespace string) bool {
	return namespace == f.self.Namespace || slices.Contains(f.namespaces, namespace)
}

// makeRoom reports whether one more namespace may be asked for, and returns the entries
// to end for that. f.mu is held.
func (f *finder) makeRoom(now time.Time) (gone []*found, room bool) {
	unproven, oldest := 0, ""
	for name, s := range f.spaces {
		if s.known > 0 {
			continue
		}
		unproven++
		if oldest == "" || s.since.Before(f.spaces[oldest].since) {
			oldest = name
		}
	}
	if unproven < maxNamespaces {
		return nil, true
	}
	if now.Sub(f.spaces[oldest].since) < spaceFor {
		return nil, false
	}
	for app, e := range f.strangers {
		if app.Namespace == oldest {
			f.forget(e)
			gone = append(gone, e)
		}
	}
	delete(f.spaces, oldest)
	return gone, true
}

// forget takes an entry off the list. f.mu is held; the entry has to be ended once it
// is not.
func (f *finder) forget(e *found) {
	if f.apps[e.app] != e {
		return
	}
	_, stranger := f.strangers[e.app]
	delete(f.apps, e.app)
	delete(f.strangers, e.app)
	s := e.space
	if s == nil {
		return
	}
	if !stranger && !e.kept {
		s.known--
	}
	if s.apps--; s.apps == 0 && f.spaces[e.app.Namespace] == s {
		delete(f.spaces, e.app.Namespace)
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
	_, stranger = f.strangers[e.app]
	known = e.snapshot.Load().Known()
	if f.apps[e.app] != e || e.kept || known != stranger {
		return
	}
	change := 1
	if known {
		delete(f.strangers, e.app)
	} else {
		f.strangers[e.app] = e // it was deleted
		f.sweepLater()
		change = -1
	}
	if e.space != nil {
		e.space.known += change
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
