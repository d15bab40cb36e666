package kube

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

const (
	// recordsPause is about how long after a watch told that a record is lost it is
	// stored again: the first of an application's instances does it for all.
	recordsPause = 2 * time.Second
	// recordsTimeout bounds one attempt.
	recordsTimeout = 30 * time.Second
	// recordsPerReassert is how often, in Config.Reassert, one record is asked for where
	// no watch tells of it.
	recordsPerReassert = 4
)

// records are what this process stored beside its registration: its entries in mappings,
// and the document of its revision. As long as it is registered they are stored again
// when they are lost, all at once as with the definitions, or one by one.
type records struct {
	hub     *Hub
	changed chan struct{} // capacity 1: a watch told of mappings

	mu       sync.Mutex
	mapped   []mapped // in the order in which they were stored
	document *storedDocument
	next     int // which is asked for next
}

// mapped is an entry in a mapping.
type mapped struct {
	iface registry.Interface
	app   registry.App
}

type storedDocument struct {
	app      registry.App
	revision string
	content  []byte
}

func newRecords(h *Hub) *records { return &records{hub: h, changed: make(chan struct{}, 1)} }

func (r *records) addMapping(m mapped) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.mapped, m) {
		r.mapped = append(r.mapped, m)
	}
}

func (r *records) dropMapping(m mapped) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mapped = slices.DeleteFunc(r.mapped, func(o mapped) bool { return o == m })
}

// setDocument takes the place of the one before: a process runs one revision.
func (r *records) setDocument(app registry.App, revision string, content []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.document == nil || r.document.app != app || r.document.revision != revision || !bytes.Equal(r.document.content, content) {
		r.document = &storedDocument{app, revision, bytes.Clone(content)}
	}
}

func (r *records) dropDocument(app registry.App, revision string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.document != nil && r.document.app == app && r.document.revision == revision {
		r.document = nil
	}
}

// wake has follow look again.
func (r *records) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// follow stores again what a watch shows to be lost. It asks for nothing by itself, so
// where mappings are not watched it does nothing.
func (r *records) follow(ctx context.Context) {
	var fight contest
	var last time.Time
	for {
		select {
		case <-r.changed:
		case <-ctx.Done():
			return
		}
		if !pause.For(ctx, recordsPause/2+rand.N(recordsPause)+fight.pause) {
			return
		}
		if !r.missing() {
			continue
		}
		fight.lost(last, time.Now())
		if r.restore(ctx) != nil {
			r.wake()
		}
		last = time.Now()
	}
}

// missing reports whether a mapping is watched and an entry is not there.
func (r *records) missing() bool {
	app := r.hub.registrar.registered()
	r.mu.Lock()
	wanted := map[registry.Interface]struct{}{}
	for _, m := range r.mapped {
		if m.app == app {
			wanted[m.iface] = struct{}{}
		}
	}
	r.mu.Unlock()
	if len(wanted) == 0 {
		return false
	}
	h := r.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.hearsMappings(app.Namespace) {
		return false
	}
	for _, m := range h.spaceOf(app.Namespace).mappings {
		if slices.Contains(m.apps, app) {
			delete(wanted, m.iface)
		}
	}
	return len(wanted) > 0
}

// hearsMappings reports whether a watch tells of a namespace's mappings now. mu is held.
func (h *Hub) hearsMappings(namespace string) bool {
	s := h.spaces[h.spaceName(namespace)]
	return s != nil && s.mappingSource != nil && s.mappingSource.synced && s.mappingSource.lostAt.IsZero()
}

// ask looks now and then whether one of the records is there, each in its turn: of the
// document, of which nobody here has a watch, and of entries where mappings are not
// watched either. Where one is lost all are looked at.
func (r *records) ask(ctx context.Context) {
	for {
		every := r.hub.cfg.Reassert / recordsPerReassert
		if !pause.For(ctx, every/2+rand.N(every+1)) {
			return
		}
		store := r.turn()
		if store == nil {
			continue
		}
		try, cancel := context.WithTimeout(ctx, recordsTimeout)
		wrote, err := store(try)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil:
			r.hub.log.Warn("what this process stored cannot be looked after", "reason", err.Error())
		case wrote:
			_ = r.restore(ctx) // the next turn comes
		}
	}
}

// turn returns how to look after the next of the records; nil when there is none.
func (r *records) turn() func(context.Context) (wrote bool, err error) {
	app := r.hub.registrar.registered()
	r.hub.mu.Lock()
	heard := r.hub.hearsMappings(app.Namespace)
	r.hub.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []func(context.Context) (bool, error)
	if d := r.document; d != nil && d.app == app {
		all = append(all, func(ctx context.Context) (bool, error) { return r.putAgain(ctx, d) })
	}
	for _, m := range r.mapped {
		if m.app == app && !heard {
			all = append(all, func(ctx context.Context) (bool, error) { return r.mapAgain(ctx, m) })
		}
	}
	if len(all) == 0 {
		return nil
	}
	r.next++
	return all[r.next%len(all)]
}

// restore stores again all that is lost.
func (r *records) restore(ctx context.Context) error {
	app := r.hub.registrar.registered()
	r.mu.Lock()
	all, document := slices.Clone(r.mapped), r.document
	r.mu.Unlock()
	try, cancel := context.WithTimeout(ctx, recordsTimeout)
	defer cancel()
	restored, err := 0, error(nil)
	note := func(wrote bool, failure error) {
		if wrote {
			restored++
		}
		if failure != nil {
			err = failure
		}
	}
	if document != nil && document.app == app {
		note(r.putAgain(try, document))
	}
	for _, m := range all {
		if m.app == app && err == nil {
			note(r.mapAgain(try, m))
		}
	}
	if restored > 0 {
		r.hub.log.Warn("what this process had stored was lost; it is stored again", "app", app.String(), "records", restored)
	}
	if err != nil && ctx.Err() == nil {
		r.hub.log.Warn("what this process had stored is lost and cannot be stored again yet", "app", app.String(), "reason", err.Error())
	}
	return err
}

func (r *records) mapAgain(ctx context.Context, m mapped) (bool, error) {
	wrote, err := r.hub.writeMapping(ctx, m.iface, m.app, true)
	if wrote {
		r.hub.metrics.restored.WithLabelValues("mapping").Inc()
	}
	return wrote, err
}

func (r *records) putAgain(ctx context.Context, d *storedDocument) (bool, error) {
	wrote, err := r.hub.putMetadata(ctx, d.app, d.revision, d.content)
	if wrote {
		r.hub.metrics.restored.WithLabelValues("metadata").Inc()
	}
	return wrote, err
}
