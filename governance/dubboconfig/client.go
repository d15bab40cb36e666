package dubboconfig

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

// client is one connection. Its fields are guarded by the service's mutex, but for
// those that never change.
type client struct {
	id     string
	remote netip.AddrPort
	wake   chan struct{} // holds a token when there is something to send
	setUp  chan struct{} // closed once it has said what it is

	// looking holds a token while the cluster is asked whose address it has, and guards
	// what was answered: the pod, or why there is none, which holds until strange.
	looking chan struct{}
	pod     registry.PodName
	podErr  error
	strange time.Time

	large   chan struct{} // holds a token while a large message is read
	version string
	began   time.Time
	heard   time.Time // when it sent something last

	// place is who it is, once that is known; app its application's own name.
	app   string
	place place
	calls []governance.App // sorted
	// listens says whether it listens to its application's document, held the hash of
	// what it holds of it.
	listens bool
	held    string
	// applied is what it has confirmed last, at appliedAt.
	applied   *governance.Applied
	appliedAt time.Time
	// noticed is the hash that it was told of last, at noticedAt; due that it is to be
	// told now.
	noticed   string
	noticedAt time.Time
	due       *named
	dirty     bool // the store is to be told
}

func newClient(id string, remote netip.AddrPort, now time.Time) *client {
	return &client{id: id, remote: remote, wake: make(chan struct{}, 1), setUp: make(chan struct{}), looking: make(chan struct{}, 1), large: make(chan struct{}, 1), began: now, heard: now}
}

// maxListened is how many documents one request may name: stock clients send as
// many at most.
const maxListened = 3000

// tellAgain is how long a client that was told of a change may take to come for it.
const tellAgain = 3 * time.Second

// weigh holds what a client holds against what it should: it is confirmed, or the
// client is told. s.mu is held.
func (s *Service) weigh(c *client) {
	if !c.listens || c.place.app == (governance.App{}) {
		return
	}
	w := s.want(c.place.app, c.calls)
	if w == nil {
		return
	}
	now := s.cfg.Now()
	if c.held == w.hash {
		c.noticed, c.noticedAt = "", time.Time{}
		a := governance.Applied{Version: w.set.Version, Hash: w.set.Hash, Unmet: w.unmet}
		if c.applied == nil || c.applied.Version != a.Version || c.applied.Hash != a.Hash || !slices.Equal(c.applied.Unmet, a.Unmet) {
			c.applied, c.appliedAt = &a, now
			s.stir(c)
		}
		return
	}
	if c.noticedAt.IsZero() || c.noticed != w.hash || now.Sub(c.noticedAt) >= tellAgain {
		c.noticed, c.noticedAt = w.hash, now
		c.due = &named{DataID: c.app + ".configurators", Group: dubboGroup, Tenant: c.place.tenant}
		notify(c.wake)
	}
}

// stir has a client told to the store. s.mu is held.
func (s *Service) stir(c *client) {
	c.dirty = true
	notify(s.stirred)
}

func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// query answers what a document holds.
func (s *Service) query(ctx context.Context, c *client, r request) queried {
	n := named{DataID: r.DataID, Group: r.Group, Tenant: r.Tenant}
	app, ok := appOf(n)
	if !ok || !s.mayBe(c, app, n.Tenant) {
		return queried{answer: failed(r, codeNotFound, "there is no such document")}
	}
	p, err := s.placeOf(ctx, c, app, n.Tenant)
	if err != nil {
		return queried{answer: failed(r, codeFailed, err.Error())}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.want(p.app, c.calls)
	switch {
	case w == nil:
		return queried{answer: failed(r, codeFailed, "the policies have not been read yet: ask again")}
	case w.content == "":
		return queried{answer: failed(r, codeNotFound, "no policy says anything to this application")}
	}
	s.metrics.documents.Inc()
	return queried{answer: fine(r), Content: w.content, ContentType: contentTypeOfRules, MD5: w.hash, Modified: s.cfg.Now().UnixMilli()}
}

// listen takes what a client listens to and holds, and answers which of it is to be
// fetched.
func (s *Service) listen(ctx context.Context, c *client, r request) changes {
	out := changes{answer: fine(r), Changed: []named{}}
	if r.Listen != nil && !*r.Listen {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, l := range r.Contexts {
			if app, ok := appOf(named{DataID: l.DataID, Group: l.Group}); ok && app == c.app {
				c.listens = false
			}
		}
		return out
	}
	if len(r.Contexts) > maxListened {
		return changes{answer: failed(r, codeFailed, fmt.Sprintf("a request names at most %d documents", maxListened)), Changed: []named{}}
	}
	var called []string
	var own *listened
	for i, l := range r.Contexts {
		n := named{DataID: l.DataID, Group: l.Group, Tenant: l.Tenant}
		// Of a process with several applications, the first one is governed.
		if app, ok := appOf(n); ok && s.mayBe(c, app, n.Tenant) {
			if own == nil {
				if _, err := s.placeOf(ctx, c, app, n.Tenant); err != nil {
					return changes{answer: failed(r, codeFailed, err.Error()), Changed: []named{}}
				}
			}
			own = &r.Contexts[i]
			continue
		}
		if app, ok := calledBy(n); ok {
			called = append(called, app)
		}
		if l.MD5 != "" {
			out.Changed = append(out.Changed, n) // it holds one of another server, and there is none here
		}
	}
	if len(called) > 0 {
		s.callsAlso(c, called)
	}
	if own != nil && s.holds(c, own.MD5) {
		out.Changed = append(out.Changed, named{DataID: own.DataID, Group: own.Group, Tenant: own.Tenant})
	}
	return out
}

func (s *Service) mayBe(c *client, app, tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.mayBe(app, tenant)
}

// holds takes what a client, whose place is known, holds of its application's
// document. It reports whether that is to be fetched anew.
func (s *Service) holds(c *client, hash string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !c.listens
	c.listens, c.held = true, hash
	s.joinCalls(c)
	if first {
		s.stir(c)
	}
	s.weigh(c)
	w := s.want(c.place.app, c.calls)
	if w == nil || hash == w.hash {
		return false
	}
	c.due = nil // the answer tells it
	return true
}

// callsAlso takes that a client calls applications.
func (s *Service) callsAlso(c *client, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := slices.Clone(c.calls)
	for _, name := range names {
		if len(calls) >= governance.MaxCalls {
			break
		}
		app := governance.App{Namespace: c.place.app.Namespace, Name: name}
		if i, found := slices.BinarySearchFunc(calls, app, governance.App.Compare); !found && name != c.app {
			calls = slices.Insert(calls, i, app)
		}
	}
	if len(calls) > len(c.calls) {
		c.calls = calls
		s.stir(c)
		s.weigh(c)
	}
}

// joinCalls puts what was heard before the client's namespace was known into it.
// s.mu is held.
func (s *Service) joinCalls(c *client) {
	ns := c.place.app.Namespace
	if !slices.ContainsFunc(c.calls, func(a governance.App) bool { return a.Namespace != ns }) {
		return
	}
	calls := slices.Clone(c.calls)
	for i := range calls {
		calls[i].Namespace = ns
	}
	slices.SortFunc(calls, governance.App.Compare)
	c.calls = slices.Compact(calls)
}
