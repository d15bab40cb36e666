package api_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/internal/access"
)

// stuck is a client that takes nothing once the stream has begun.
type stuck struct {
	header http.Header
	takes  atomic.Bool
	free   chan struct{}
}

func (s *stuck) Header() http.Header              { return s.header }
func (s *stuck) WriteHeader(int)                  {}
func (s *stuck) SetWriteDeadline(time.Time) error { return nil }
func (s *stuck) FlushError() error                { return nil }
func (s *stuck) Write(b []byte) (int, error) {
	if !s.takes.Load() {
		<-s.free
	}
	return len(b), nil
}

func TestASlowReaderIsLetGoAndHoldsNobody(t *testing.T) {
	t.Parallel()
	k, store, _ := livePostgres(t)
	w := &stuck{header: http.Header{}, free: make(chan struct{})}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/live", http.NoBody)
	req.Header.Set("Authorization", "Bearer viewer")
	var done sync.WaitGroup
	done.Go(func() { k.srv.Config.Handler.ServeHTTP(w, req) })
	v := k.watch("", "viewer", "")
	for n := range 200 {
		if n%50 == 0 {
			happened(t, store, inventory, "x")
			v.happenings(1)
		}
		read[api.LiveHealth](v, "health")
	}
	close(w.free)
	done.Wait() // its stream was ended, and the other's was not
	read[api.LiveHealth](v, "health")
}

func TestTheStoreIsFollowedOnlyWhileSomebodyWatches(t *testing.T) {
	t.Parallel()
	k, store, _ := livePostgres(t)
	if api.Following(k.api) {
		t.Fatal("it is followed for nobody")
	}
	a, b := k.watch("app=shop/inventory", "viewer", ""), k.watch("app=shop/inventory", "viewer", "")
	read[api.LiveHealth](a, "health")
	read[api.LiveHealth](b, "health")
	if n := api.Followed(k.api); n != 1 {
		t.Fatalf("it is followed %d times", n)
	}
	a.close()
	happened(t, store, inventory, "x")
	b.happenings(1)
	has := b.close()
	k.until("it is followed no more", func() bool { return !api.Following(k.api) })
	happened(t, store, inventory, "y")
	if got := k.watch("", "viewer", has).happenings(1); got[0] != "y" {
		t.Fatalf("%v", got)
	}
}

func TestLiveStreamsEndAtOnceWhenTheServerStops(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{LiveTick: liveTick, DrainOver: time.Hour})
	var all []*viewer
	for range 5 {
		v := k.watch("", "viewer", "")
		read[api.LiveHello](v, "hello")
		all = append(all, v)
	}
	if err := k.api.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if err := <-v.closed; !errors.Is(err, io.EOF) {
			t.Fatalf("a stream ended with %v, want its orderly end", err)
		}
	}
	k.want(503, k.do(http.MethodGet, "/api/v1/live", "viewer", nil), "stopping")
}

func TestALiveStreamEndsWithTheRightToSeeIt(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{LiveTick: liveTick, AskAgain: 10 * time.Millisecond, MaxWatchers: 1})
	var may atomic.Bool
	may.Store(true)
	sessions.Store("passing", func() (access.Principal, error) {
		if !may.Load() {
			return access.Principal{}, &access.DeniedError{Unknown: true, Message: "the session has ended: log in again"}
		}
		return people["viewer"], nil
	})
	v := k.watch("", "passing", "")
	read[api.LiveHealth](v, "health")
	k.want(503, k.do(http.MethodGet, "/api/v1/live", "viewer", nil), "as many as it may")
	may.Store(false)
	if err := <-v.closed; !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	k.want(401, k.do(http.MethodGet, "/api/v1/live", "passing", nil))
	k.want(403, k.do(http.MethodGet, "/api/v1/live", "pod shop uid-1", nil))
}

func TestOnePrincipalTakesNotAllThePlaces(t *testing.T) {
	t.Parallel()
	k := start(t, api.Config{LiveTick: liveTick})
	var last *viewer
	for range api.MaxOwnWatchers {
		last = k.watch("", "viewer", "")
	}
	k.want(429, k.do(http.MethodGet, "/api/v1/live", "viewer", nil), "user:vera holds 20 live streams", "close another tab")
	read[api.LiveHello](k.watch("", "operator", ""), "hello")
	last.close()
	k.until("a place is free again", func() bool { return api.Watching(k.api) == api.MaxOwnWatchers })
	read[api.LiveHello](k.watch("", "viewer", ""), "hello")
}
