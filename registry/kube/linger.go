package kube

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/weirmesh/weir/registry"
)

// A namespace that Config does not name is watched from the first question about one of
// its applications, which may have been made up by whoever called. So its watches end
// once nobody has followed or asked for long, and begin again, as at first, with the
// next question: until all is heard again nothing is known, and nothing is empty.
const (
	lingerFor = 10 * time.Minute
	// maxLingering bounds the namespaces that are watched though nobody follows them.
	// The one that was of use longest ago makes room.
	maxLingering = 32
	// lingerLeast is how long one is left to whoever asks without following.
	lingerLeast = 5 * time.Second
	// lingerAgain is when one is looked at again that could not be ended.
	lingerAgain = time.Minute
)

// lingering is what becomes of a namespace's watches.
type lingering struct {
	ctx       context.Context //nolint:containedctx // of the watches; nil before the first
	cancel    context.CancelFunc
	followers int
	used      time.Time   // when somebody last followed, or asked
	timer     *time.Timer // of the next look; nil for a namespace that lasts
}

// lasting reports whether a namespace is watched for as long as the hub lives.
func (h *Hub) lasting(namespace string) bool {
	return namespace == h.own || slices.Contains(h.base, namespace)
}

func (h *Hub) lingerTime() time.Duration { return cmp.Or(h.linger, lingerFor) }

// lifetime is that of the namespace's watches. mu is held.
func (s *space) lifetime() context.Context {
	l := &s.lingering
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(s.hub.ctx)
	}
	return l.ctx
}

// use notes that somebody needs the namespace. mu is held.
func (s *space) use() {
	h, l := s.hub, &s.lingering
	if h.closed || h.lasting(s.namespace) {
		return
	}
	l.used = h.clock.now()
	if l.timer == nil {
		l.timer = time.AfterFunc(h.lingerTime(), func() { h.lookAt(s) })
		h.makeRoom()
	}
}

// follow and leave count who follows an application of the namespace. mu is held.
func (s *space) follow() { s.lingering.followers++ }

func (s *space) leave() {
	s.lingering.followers--
	s.use()
	s.hub.makeRoom()
}

// lookAt ends a namespace's watches if they were of no use for long.
func (h *Hub) lookAt(s *space) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.spaces[s.namespace] != s {
		return
	}
	l := &s.lingering
	left := h.lingerTime()
	if l.followers == 0 {
		left = l.used.Add(left).Sub(h.clock.now())
		if left <= 0 && s.mayEnd() {
			h.endSpace(s)
			return
		}
	}
	if left <= 0 {
		left = min(lingerAgain, h.lingerTime())
	}
	l.timer.Reset(left)
}

// makeRoom ends the watches of namespaces that were of use longest ago, where too many
// linger. mu is held.
func (h *Hub) makeRoom() {
	var idle []*space
	for _, s := range h.spaces {
		if s.lingering.timer != nil && s.lingering.followers == 0 {
			idle = append(idle, s)
		}
	}
	if len(idle) <= maxLingering {
		return
	}
	slices.SortFunc(idle, func(a, b *space) int { return a.lingering.used.Compare(b.lingering.used) })
	before := h.clock.now().Add(-lingerLeast)
	for _, s := range idle[:len(idle)-maxLingering] {
		if !s.lingering.used.After(before) && s.mayEnd() {
			h.endSpace(s)
		}
	}
}

// mayEnd reports whether ending the watches forgets nothing that could not be heard
// again: what is kept, though it is not ready, would not be kept by who hears of it
// first; and while the API server is away, what it said is all there is. mu is held.
func (s *space) mayEnd() bool {
	if s.lingering.followers > 0 || len(s.losing) > 0 {
		return false
	}
	return !slices.ContainsFunc(s.sources(), func(src *source) bool {
		refused := src.failure != nil && src.failure.Code == registry.Forbidden
		return src.synced && !src.lostAt.IsZero() && !refused
	})
}

// endSpace ends a namespace's watches and forgets what they told. What a watch still
// brings is dropped, and late timers find nothing. mu is held.
func (h *Hub) endSpace(s *space) {
	delete(h.spaces, s.namespace)
	s.lingering.timer.Stop()
	if s.lingering.cancel != nil {
		s.lingering.cancel()
	}
	for _, src := range s.sources() {
		src.ended = true
		if src.failure != nil {
			h.dropFailure(src.failure)
		}
	}
	for _, a := range s.apps {
		a.stopTimers()
		a.due = time.Time{}
	}
	for _, p := range s.pods {
		h.statements.release(p.said)
	}
	clear(s.apps)
	clear(s.slices)
	clear(s.pods)
	clear(s.policies)
	clear(s.mappings)
	h.wakeLocked() // whoever waits for it all the same begins anew
}
