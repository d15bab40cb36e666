package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/weirmesh/weir/registry"
)

// table takes in what a source hears. slim is called without the hub's lock and
// must not touch shared state; the others are called with it.
type table interface {
	// slim keeps of an object what is served, under a key that is the object's
	// for life.
	slim(obj runtime.Object) (key string, kept any)
	put(key string, kept any, now time.Time)
	remove(key string, now time.Time)
	// replace makes all the whole state: what is not in it is gone, with proof.
	replace(all map[string]any, now time.Time)
}

// source lists and watches one kind of object in one namespace for as long as
// that is watched.
//
// client-go's reflector does much of this, but waits up to a minute before it
// tries an API server again that did not answer, and cannot be told otherwise;
// nor does it say when it lost touch. Here an unreachable server is tried at
// least every MaxBackoff.
type source struct {
	hub       *Hub
	resource  *resource
	namespace string
	field     string // a field selector, to follow one object only
	role      string
	table     table

	streams bool      // the server sends the initial state as a watch
	told    time.Time // when the server last told something, of the goroutine that runs
	relists time.Time // when the whole state was last asked for anew, of the same

	// Guarded by hub.mu.
	synced  bool
	there   bool      // the server answered last, though not yet with what is asked for
	ended   bool      // its space was ended: what it still hears is nobody's
	overdue bool      // it was not heard in the time that a snapshot file gives it
	lostAt  time.Time // since when it is lost; zero while it is not
	foundAt time.Time // when it was last found again
	failure *registry.Error
}

const (
	pageSize  = 500
	firstWait = 50 * time.Millisecond
	// refusedFactor times MaxBackoff is the longest pause after an answer that
	// refuses: the server is there, and asking often will not change its mind.
	refusedFactor = 4
	// A stream that ends before this has brought nothing worth hurrying for.
	shortStream = time.Second
	// The whole state is asked for anew at once if that was not done this shortly before.
	relistPause = 10 * time.Second
)

func (s *source) run(ctx context.Context) {
	s.streams = true
	wait, answered := firstWait, true
	version := "" // where to go on; empty when the whole state is needed
	for ctx.Err() == nil {
		began := s.hub.clock.now()
		next, heard, err := s.follow(ctx, version)
		if ctx.Err() != nil {
			return
		}
		version = next
		if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || isTooNew(err) {
			s.hub.metrics.relists.WithLabelValues(s.resource.name).Inc()
			now := s.hub.clock.now()
			again := !s.relists.IsZero() && now.Sub(s.relists) < relistPause
			s.relists = now
			if version != "" && !again {
				version = ""
				wait = firstWait
				continue // no loss: the server is there, and will tell everything anew
			}
			// Whose whole state is too old as soon as it has been told is not asked for it
			// without a pause.
			version, heard = "", false
		}
		if heard {
			wait = firstWait
		}
		if err == nil {
			if s.hub.clock.now().Sub(began) > shortStream || heard {
				continue // an ordinary end: servers close watches every few minutes
			}
			err = errShort
		}
		if s.told.After(began) {
			began = s.told // a watch may have stood for long
		}
		linked, passing := s.lost(began, err)
		// A server that is back, but not itself yet, is not made to wait for what
		// its absence has grown to.
		if is := isThere(err); is != answered {
			wait, answered = firstWait, is
		}
		if answered {
			linked = nil // others are answered as well
		}
		pause := s.hub.pause(wait, err)
		wait = min(2*wait, refusedFactor*s.hub.cfg.MaxBackoff)
		if passing { // somebody may wait to know whether it does
			wait = min(wait, s.hub.cfg.MaxBackoff)
		}
		select {
		case <-time.After(pause):
		case <-linked:
		case <-ctx.Done():
		}
	}
}

// isAnswer tells an answer of the server from its absence.
func isAnswer(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

// isThere is isAnswer that counts a state as well of which a part came: to ask for the
// whole at once, again and again, is more than it can bear.
func isThere(err error) bool { return isAnswer(err) || errors.Is(err, errPartial) }

// errPartial is for a stream that ends, without saying why, before the whole state has
// come. client-go tells of no error then: it takes an end of the connection for an
// ordinary one.
var errPartial = &registry.Error{
	Code:    registry.Unavailable,
	Message: "the API server ends streams before they have brought the whole state",
	Fix:     "check that it is well, and that what stands before it lets a stream last",
}

// errShort is for a server that accepts a watch and drops it, as one does that
// shuts down, or a proxy before one that is gone.
var errShort = &registry.Error{
	Code:    registry.Unavailable,
	Message: "the API server ends watches as soon as they begin",
	Fix:     "check that it, and what stands before it, is well",
}

// pause is how long to wait before the next attempt: about wait, and not before the
// server asks for it.
func (h *Hub) pause(wait time.Duration, err error) time.Duration {
	limit, asked := h.cfg.MaxBackoff, time.Duration(0)
	if isThere(err) {
		limit *= refusedFactor
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			asked = time.Duration(seconds) * time.Second
		}
	}
	wait = max(min(wait, limit), asked)
	return max(wait/2, asked) + rand.N(wait/2+1) // a fleet must not knock in step
}

// follow hears one stream out, after the whole state where version is empty. It
// returns where to go on, and whether the server told anything. A part of the state
// is nothing: one can neither serve it nor go on from it.
func (s *source) follow(ctx context.Context, version string) (next string, heard bool, err error) {
	opts := metav1.ListOptions{
		AllowWatchBookmarks: true,
		ResourceVersion:     version,
		FieldSelector:       s.field,
		TimeoutSeconds:      watchTimeout(rand.Float64),
	}
	var initial map[string]any // what a streamed initial state has brought so far
	if version == "" {
		if s.streams {
			whole := true
			opts.SendInitialEvents = &whole
			opts.ResourceVersionMatch = metav1.ResourceVersionMatchNotOlderThan
			initial = map[string]any{}
		} else {
			if opts.ResourceVersion, err = s.list(ctx); err != nil {
				return "", false, err
			}
			heard = true
			version = opts.ResourceVersion
		}
	}
	if initial == nil && s.wasLost() {
		if err := s.behind(ctx, version); err != nil {
			return version, heard, err
		}
	}
	w, err := s.hub.client.watch(ctx, s.resource, s.namespace, opts)
	if err != nil {
		if initial != nil && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
			s.streams = false // an API server that does not stream lists yet
			return s.follow(ctx, "")
		}
		return version, heard, err
	}
	defer w.Stop()
	if initial != nil {
		s.answers()
	} else {
		s.inTouch()
		s.told = s.hub.clock.now()
	}
	for {
		var event watch.Event
		var ok bool
		select {
		case event, ok = <-w.ResultChan():
		case <-ctx.Done():
			return version, heard, nil
		}
		if !ok && initial != nil {
			return "", false, errPartial
		}
		if !ok {
			return version, heard, nil
		}
		if event.Type == watch.Error {
			return version, heard, apierrors.FromObject(event.Object)
		}
		object, err := meta.Accessor(event.Object)
		if err != nil {
			return version, heard, fmt.Errorf("read watch event: %w", err)
		}
		switch {
		case event.Type == watch.Bookmark && initial != nil:
			if object.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
				continue
			}
			s.replace(initial)
			initial = nil
		case event.Type == watch.Bookmark:
		case initial != nil:
			if key, kept := s.table.slim(event.Object); key != "" {
				initial[key] = kept
			}
			continue // an unfinished state is no place to go on from
		default:
			s.take(event)
		}
		heard, s.told = true, s.hub.clock.now()
		s.hub.refusals.end()
		version = object.GetResourceVersion()
	}
}

// wasLost reports whether the source was heard, and is lost.
func (s *source) wasLost() bool {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.synced && !s.lostAt.IsZero()
}

// behind returns an error by which isTooNew tells that the server does not know of the
// version yet. To a watch it does not say so, but is silent until it has come so far
// again, and what it tells then is of another past.
func (s *source) behind(ctx context.Context, version string) error {
	// A list of nothing, which costs next to nothing.
	_, err := s.hub.client.list(ctx, s.resource, s.namespace, metav1.ListOptions{
		FieldSelector:        "metadata.name=weir-none",
		ResourceVersion:      version,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if isTooNew(err) {
		return err
	}
	return nil // the watch will tell
}

// list reads the whole state page by page and returns its version.
func (s *source) list(ctx context.Context) (string, error) {
	all := map[string]any{}
	opts := metav1.ListOptions{FieldSelector: s.field, Limit: pageSize}
	for {
		page, err := s.hub.client.list(ctx, s.resource, s.namespace, opts)
		if apierrors.IsResourceExpired(err) && opts.Continue != "" {
			// Its pages are kept for some minutes only. Asked for in one, it is whole.
			s.hub.metrics.relists.WithLabelValues(s.resource.name).Inc()
			opts.Continue, opts.Limit = "", 0
			clear(all)
			continue
		}
		if err != nil {
			return "", err
		}
		err = meta.EachListItem(page, func(obj runtime.Object) error {
			if key, kept := s.table.slim(obj); key != "" {
				all[key] = kept
			}
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("read list: %w", err)
		}
		list, err := meta.ListAccessor(page)
		if err != nil {
			return "", fmt.Errorf("read list: %w", err)
		}
		if opts.Continue = list.GetContinue(); opts.Continue == "" {
			s.replace(all)
			return list.GetResourceVersion(), nil
		}
	}
}

func (s *source) take(event watch.Event) {
	now := s.hub.clock.now()
	s.hub.metrics.events.WithLabelValues(s.resource.name).Inc()
	key, kept := s.table.slim(event.Object)
	if key == "" {
		return
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.ended {
		return
	}
	if event.Type == watch.Deleted {
		s.table.remove(key, now)
	} else {
		s.table.put(key, kept, now)
	}
}

func (s *source) replace(all map[string]any) {
	now := s.hub.clock.now()
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.ended {
		return
	}
	s.table.replace(all, now)
	first := !s.synced
	s.foundLocked()
	if first {
		s.hub.flushFollowed(now)
	}
}

// answers notes that the server is about to tell the whole state.
func (s *source) answers() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.there = true
}

// inTouch notes that the server answers.
func (s *source) inTouch() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.ended {
		s.foundLocked()
	}
}

func (s *source) foundLocked() {
	if s.synced && s.failure == nil && s.lostAt.IsZero() {
		return
	}
	if s.failure != nil {
		s.hub.mended(s.failure)
	}
	wasLost, lostAt := s.synced && !s.lostAt.IsZero(), s.lostAt
	s.synced, s.failure, s.lostAt = true, nil, time.Time{}
	if wasLost {
		s.foundAt = s.hub.clock.now()
		for _, space := range s.hub.spaces {
			if space.sliceSource == s {
				space.foundAgain(lostAt, s.foundAt)
			}
		}
		s.hub.scheduleDirty(s.foundAt)
	}
	s.hub.wakeLocked()
	close(s.hub.linked)
	s.hub.linked = make(chan struct{})
}

// lost notes that the server cannot be heard, since when and why. What is known
// stays. The channel is closed when another source has found the server; passing is
// a refusal that may not be meant.
func (s *source) lost(since time.Time, err error) (linked <-chan struct{}, passing bool) {
	why := s.hub.client.explain(err, attempt{verb: "list", resource: s.resource, namespace: s.namespace, role: s.role})
	s.hub.metrics.errors.WithLabelValues(string(why.Code)).Inc()
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	linked = s.hub.linked
	if s.ended {
		return linked, false
	}
	if s.resource.optional && apierrors.IsNotFound(err) {
		// The cluster does not define such objects, so there are none. It has been
		// heard all the same: an outage ends here.
		first := !s.synced
		s.foundLocked()
		if first {
			s.hub.log.Info("registry goes without an optional kind of object", "kind", s.resource.full(), "reason", why.Error())
			s.hub.flushFollowed(s.hub.clock.now())
		}
		return linked, false
	}
	if s.lostAt.IsZero() {
		s.lostAt = since
	}
	s.there = errors.Is(err, errPartial) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err)
	if passing = s.hub.premature(err); passing {
		why = provisional(why)
	}
	if s.failure == nil || s.failure.Error() != why.Error() {
		s.hub.failed(why)
		if s.failure != nil {
			s.hub.dropFailure(s.failure)
		}
		s.failure = why
		s.hub.wakeLocked()
	}
	return linked, passing
}

// isTooNew tells that the server is behind what was seen before, as after a
// restore of its database.
func isTooNew(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}
