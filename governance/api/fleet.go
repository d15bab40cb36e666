package api

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/pause"
)

// fleet is what this control plane knows of instances at first hand: those that
// hold a stream here, or reported here. The store joins what all of them know.
type fleet struct {
	store   governance.Store
	hub     *hub
	now     func() time.Time
	metrics *metrics
	log     *slog.Logger

	mu      sync.Mutex
	members map[member]*local
	open    map[string]int // streams by instance
	dirty   map[member]struct{}
	wake    chan struct{} // holds one token: there are dirty ones
	moved   chan struct{} // closed and replaced when instances anywhere may have changed
	suspect chan struct{} // holds one token: confirmations may have come
}

type member struct {
	app governance.App
	id  string
}

// local is one of them.
type local struct {
	governance.Instance
	streams map[*subscriber]struct{}
	put     time.Time // when what it applies was last written
	boot    string
	seq     int64            // of the newest report of this boot
	dropped map[string]int64 // as its process counted last
}

func newFleet(c Config, h *hub, m *metrics) *fleet {
	return &fleet{
		store: c.Store, hub: h, now: c.Now, metrics: m, log: c.Log,
		members: map[member]*local{}, open: map[string]int{}, dirty: map[member]struct{}{},
		wake: make(chan struct{}, 1), moved: make(chan struct{}), suspect: make(chan struct{}, 1),
	}
}

func token(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *fleet) member(app governance.App, id string) *local {
	k := member{app, id}
	l := f.members[k]
	if l == nil {
		l = &local{Instance: governance.Instance{App: app, ID: id}, streams: map[*subscriber]struct{}{}}
		f.members[k] = l
	}
	return l
}

func (f *fleet) mark(k member) {
	f.dirty[k] = struct{}{}
	token(f.wake)
}

// opened notes a stream, and what its instance says that it enforces, unless the
// instance holds too many. It does not wait for the store: a stream lives without.
func (f *fleet) opened(hello governance.Instance, s *subscriber) (m member, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[hello.ID] >= maxOwnStreams {
		return member{}, false
	}
	f.open[hello.ID]++
	k := member{hello.App, hello.ID}
	l := f.member(hello.App, hello.ID)
	l.Name, l.SDK, l.Calls, l.Seen = hello.Name, hello.SDK, tidyCalls(hello.Calls), f.now()
	if hello.Applied != nil && (l.Applied == nil || l.Applied.Hash != hello.Applied.Hash) {
		l.Applied, l.AppliedAt = hello.Applied, l.Seen
	}
	l.streams[s] = struct{}{}
	f.mark(k)
	return k, true
}

// closed notes the end of a stream. An instance whose last one it was counts for
// a little while yet.
func (f *fleet) closed(k member, s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[k.id]--; f.open[k.id] <= 0 {
		delete(f.open, k.id)
	}
	l := f.members[k]
	if l == nil {
		return
	}
	delete(l.streams, s)
	if len(l.streams) == 0 {
		l.Seen = f.now().Add(governance.InstanceLeaving - governance.InstanceGone)
		f.mark(k)
	}
}

// check refuses a report by which an instance would call more than it may.
func (f *fleet) check(rep governance.Report) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.members[member{rep.App, rep.Instance}]
	if l == nil || len(l.Calls)+len(rep.Calls) <= maxCalls {
		return nil
	}
	if n := len(tidyCalls(slices.Concat(l.Calls, rep.Calls))); n > maxCalls {
		return httpapi.BadRequest("body.calls", fmt.Sprintf("with those that it has told before there are %d, and at most %d are taken", n, maxCalls))
	}
	return nil
}

// heard takes in what a report says of its instance, and returns once what it
// applies is in the store; and what the instance is known to call.
func (f *fleet) heard(ctx context.Context, rep governance.Report, now time.Time) ([]governance.App, error) {
	f.mu.Lock()
	l := f.member(rep.App, rep.Instance)
	l.Seen = now
	if rep.Name != "" {
		l.Name = rep.Name
	}
	more := false
	if len(rep.Calls) > 0 {
		calls := tidyCalls(slices.Concat(l.Calls, rep.Calls))
		more = !slices.Equal(calls, l.Calls)
		l.Calls = calls
	}
	// One that was on its way for longer than the next says nothing that counts.
	late := l.boot == rep.Boot && rep.Seq <= l.seq
	if !late {
		f.countDropped(l, rep)
		l.boot, l.seq = rep.Boot, rep.Seq
	}
	moved := !late && rep.Applied != nil && !reflect.DeepEqual(rep.Applied, l.Applied)
	write := moved || more || len(l.streams) == 0 && now.Sub(l.put) >= governance.InstanceSeen
	if moved {
		l.Applied, l.AppliedAt = rep.Applied, now
	}
	out, streams := l.Instance, make([]*subscriber, 0, len(l.streams))
	for s := range l.streams {
		streams = append(streams, s)
	}
	f.mu.Unlock()
	if more {
		for _, s := range streams {
			f.hub.move(s, out.Calls)
		}
	}
	if !write {
		return out.Calls, nil
	}
	if err := f.store.PutInstances(ctx, out); err != nil {
		f.mu.Lock()
		if moved {
			// It is told again, and has to count then.
			l.Applied, l.seq = nil, min(l.seq, rep.Seq-1)
		}
		f.mu.Unlock()
		return nil, err
	}
	f.mu.Lock()
	l.put = now
	f.mu.Unlock()
	if moved {
		f.metrics.acknowledged.Inc()
		f.broadcast()
	}
	return out.Calls, nil
}

// countDropped adds up what an instance could not report, which it counts from
// the begin of its process on.
func (f *fleet) countDropped(l *local, rep governance.Report) {
	if l.boot != rep.Boot {
		l.dropped = nil
	}
	for kind, n := range rep.Dropped {
		if more := n - l.dropped[kind]; more > 0 {
			label := "other"
			if kind == "samples" || kind == "transitions" {
				label = kind
			}
			f.metrics.dropped.WithLabelValues(label).Add(float64(more))
		}
	}
	l.dropped = rep.Dropped
}

// broadcast wakes those who wait for instances to change.
func (f *fleet) broadcast() {
	f.mu.Lock()
	close(f.moved)
	f.moved = make(chan struct{})
	f.mu.Unlock()
	token(f.suspect)
}

func (f *fleet) changes() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}

// watch hears of what instances told other control planes.
func (f *fleet) watch(ctx context.Context) error {
	return f.store.WatchInstances(ctx, f.broadcast)
}

// flushAll writes who came and went soon, says every InstanceSeen that those with
// streams here live, and ends those that are gone.
func (f *fleet) flushAll(ctx context.Context) {
	ticker := time.NewTicker(governance.InstanceSeen)
	defer ticker.Stop()
	failing := false
	// Instances come back one by one when control planes were away: until all have
	// had the time to, none is gone.
	begin := f.now()
	for {
		all := false
		select {
		case <-ctx.Done():
			f.leaveAll(ctx)
			return
		case <-f.wake:
			pause.For(ctx, 10*time.Millisecond) // many come together
		case <-ticker.C:
			all = true
		}
		err := f.flush(ctx, all)
		if err == nil && all && f.now().Sub(begin) > governance.InstanceGone {
			err = f.sweep(ctx)
		}
		if err != nil && !failing && ctx.Err() == nil {
			f.log.WarnContext(ctx, "which instances live cannot be written; trying again", "error", err)
		}
		failing = err != nil
	}
}

// storePatience bounds what is asked of the store in the background: a machine
// that went away without a word must not hold up what comes after it.
const storePatience = 15 * time.Second

func (f *fleet) sweep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	return f.store.SweepInstances(ctx)
}

func (f *fleet) flush(ctx context.Context, all bool) error {
	now := f.now()
	var out []governance.Instance
	f.mu.Lock()
	written := f.dirty
	f.dirty = map[member]struct{}{}
	for k, l := range f.members {
		if len(l.streams) > 0 && all {
			l.Seen = now
			written[k] = struct{}{}
		}
		if len(l.streams) == 0 && now.Sub(l.Seen) > 2*governance.InstanceGone {
			delete(f.members, k)
			delete(written, k)
		}
	}
	for k := range written {
		if l := f.members[k]; l != nil {
			out = append(out, l.Instance)
		}
	}
	f.mu.Unlock()
	if len(out) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	err := f.store.PutInstances(ctx, out...)
	if err != nil {
		f.mu.Lock()
		for k := range written {
			f.dirty[k] = struct{}{}
		}
		f.mu.Unlock()
	}
	return err
}

// leaveAll writes, at the end, who left while this control plane stopped.
func (f *fleet) leaveAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	_ = f.flush(ctx, false) // those it does not reach are gone a little later
}
