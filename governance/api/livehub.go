package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/httpapi"
)

// live feeds the streams of those who watch. One goroutine, follow, reads the store
// for all of them, and only while there are any; what it knows is its own.
type live struct {
	api  *API
	tick time.Duration

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	empty    chan struct{} // closed while there are none
	wake     chan struct{} // holds one token: somebody came or went

	now     atomic.Pointer[liveNow] // while following
	follows atomic.Int64            // how often following began
}

// liveNow is the newest health.
type liveNow struct {
	at    time.Time
	items []AppHealth
}

// watcher is one stream's place. Its frames are closed when it reads too slowly.
type watcher struct {
	principal  string   // who watches, as audits have it
	namespaces []string // nil for all
	scope      string   // the same, as one word
	views      []viewKey
	frames     chan frame
	joined     bool // the follower's own
}

// maxFrames is how many frames may wait for one stream, about ten seconds' worth.
const maxFrames = 64

// frame is what a follower hands to a stream at once.
type frame struct {
	data   []byte // whole events; shared
	events []liveFeed
	// begin marks the first one, and any after which all that was told begins anew.
	begin bool
	// seen are the events that were handed over before and with this frame.
	seen *governance.Seen
}

// liveFeed is an event, encoded once for all.
type liveFeed struct {
	id        int64
	namespace string
	data      []byte
}

func feedOf(e *governance.Event) (liveFeed, error) {
	data, err := json.Marshal(e)
	return liveFeed{e.ID, e.App.Namespace, data}, err
}

func newLive(a *API) *live {
	empty := make(chan struct{})
	close(empty)
	return &live{api: a, tick: a.cfg.LiveTick, watchers: map[*watcher]struct{}{}, empty: empty, wake: make(chan struct{}, 1)}
}

// maxOwnWatchers is how many streams one principal may have, so that nobody takes
// the places of all.
const maxOwnWatchers = 20

// join adds a stream unless there are too many, of all or of whom it is for.
func (l *live) join(w *watcher, most int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.watchers) >= most {
		return busy(fmt.Sprintf("this control plane holds %d live streams, as many as it may: come again", most), 10*time.Second)
	}
	own := 0
	for other := range l.watchers {
		if other.principal == w.principal {
			own++
		}
	}
	if own >= maxOwnWatchers {
		return httpapi.NewProblem(http.StatusTooManyRequests, fmt.Sprintf(
			"%s holds %d live streams, as many as one may: close another tab, or end what else watches", w.principal, own)).WithHeader("Retry-After", "10")
	}
	if len(l.watchers) == 0 {
		l.empty = make(chan struct{})
	}
	l.watchers[w] = struct{}{}
	token(l.wake)
	return nil
}

func (l *live) leave(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.watchers[w]; !there {
		return // the follower has let it go
	}
	delete(l.watchers, w)
	if len(l.watchers) == 0 {
		close(l.empty)
	}
	token(l.wake)
}

// all returns who watches now.
func (l *live) all() map[*watcher]struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[*watcher]struct{}, len(l.watchers))
	for w := range l.watchers {
		out[w] = struct{}{}
	}
	return out
}

// wait returns when there are no streams.
func (l *live) wait(ctx context.Context) error {
	l.mu.Lock()
	empty := l.empty
	l.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// health returns what the follower knows, if it runs.
func (l *live) health(now time.Time) *liveNow {
	n := l.now.Load()
	if n == nil || now.Sub(n.at) > 3*healthBeat*l.tick {
		return nil
	}
	return n
}

// run follows the store while somebody watches, until ctx ends.
func (l *live) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		if len(l.all()) > 0 {
			l.follows.Add(1)
			newFollowing(l).run(ctx)
			l.now.Store(nil)
		}
	}
}
