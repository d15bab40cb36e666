package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/registry"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A watch that stands for long and then ends by an error is lost since the last that
// it told, and not since it began: what is known was true until then.
func TestALossIsDatedFromTheLastNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told, tell := io.Pipe()
		asked := 0
		cfg := Config{Logger: slog.New(slog.DiscardHandler)}.withDefaults()
		c, err := newClient(connection{rest: &rest.Config{Host: "http://api.example.com", WrapTransport: func(http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if asked++; asked > 1 {
					return nil, errors.New("nobody is there")
				}
				return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{"Content-Type": {acceptJSON}}, Body: told, Request: r}, nil
			})
		}}}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		h := quietHub(cfg)
		h.client = c
		src := &source{hub: h, resource: policiesResource, table: emptyTable{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); src.run(ctx) }()
		bookmark := func(version int) {
			fmt.Fprintf(tell, `{"type": "BOOKMARK", "object": {"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": {"resourceVersion": "%d", "annotations": {"k8s.io/initial-events-end": "true"}}}}`+"\n", version)
			synctest.Wait()
		}
		bookmark(1)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // it is the time of the bubble
		bookmark(2)
		last := h.clock.now()
		time.Sleep(30 * time.Second) //nolint:forbidigo // it is the time of the bubble
		fmt.Fprintln(tell, `{"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 500, "reason": "InternalError", "message": "the database is away"}}`)
		time.Sleep(time.Second) //nolint:forbidigo // it is the time of the bubble
		synctest.Wait()
		h.mu.Lock()
		synced, lostAt := src.synced, src.lostAt
		h.mu.Unlock()
		if !synced || !lostAt.Equal(last) {
			t.Errorf("synced %v, lost since %s, and the last was heard at %s", synced, lostAt, last)
		}
		cancel()
		<-ended
	})
}

// streams gives each stream that a source asks for what the test wants it to bring.
type streams struct {
	asked atomic.Int64
	whole atomic.Int64 // of those, for the whole state
}

// source returns one whose streams answer writes. It belongs into a bubble of
// synctest, and does not run yet.
func (s *streams) source(t *testing.T, cfg Config, answer func(r *http.Request) io.ReadCloser) *source {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg = cfg.withDefaults()
	c, err := newClient(connection{rest: &rest.Config{Host: "http://api.example.com", WrapTransport: func(http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if s.asked.Add(1) > 1000 { // let a loop end that does not pause
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			if r.URL.Query().Get("sendInitialEvents") != "" {
				s.whole.Add(1)
			}
			return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{"Content-Type": {acceptJSON}}, Body: answer(r), Request: r}, nil
		})
	}}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := quietHub(cfg)
	h.client = c
	return &source{hub: h, resource: policiesResource, table: policyTable{h.spaceOf("shop")}}
}

// runFor runs the source for a time of the bubble, and reads its state.
func (s *source) runFor(t *testing.T, d time.Duration, read func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.run(ctx) }()
	advance(d)
	synctest.Wait()
	s.hub.mu.Lock()
	read()
	s.hub.mu.Unlock()
	cancel()
	<-ended
}

const (
	oneObject   = `{"type": "ADDED", "object": {"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": {"namespace": "shop", "name": "one", "resourceVersion": "7"}}}` + "\n"
	wholeState  = `{"type": "BOOKMARK", "object": {"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": {"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}}}}` + "\n"
	tooOldState = `{"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"}}` + "\n"
)

// A server that brings a part of the state, over and over, is asked as rarely as one
// that refuses, and counts as lost all the while.
func TestAPartOfTheStateDoesNotExcuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s streams
		src := s.source(t, Config{}, func(*http.Request) io.ReadCloser { return io.NopCloser(strings.NewReader(oneObject)) })
		began := src.hub.clock.now()
		src.runFor(t, 10*time.Minute, func() {
			if src.synced || src.failure == nil || src.lostAt.Sub(began) > firstWait {
				t.Errorf("synced %v, lost since %v, because of %v", src.synced, src.lostAt, src.failure)
			}
		})
		// Pauses are between 4 and 8 seconds once they have grown.
		if n := s.asked.Load(); n < 60 || n > 170 {
			t.Errorf("asked %d times in ten minutes", n)
		}
	})
}

// The whole state is asked for at once when a watch that stood is told that it is too
// old, and with a pause if that is said again and again.
func TestAStandingWatchIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s streams
		var tell *io.PipeWriter
		src := s.source(t, Config{}, func(r *http.Request) io.ReadCloser {
			if r.URL.Query().Get("sendInitialEvents") == "" {
				t.Error("what is too old is asked for again")
			}
			out, in := io.Pipe()
			tell = in
			go func() { _, _ = io.WriteString(in, oneObject+wholeState) }()
			return out
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); src.run(ctx) }()
		advance(time.Hour)
		synctest.Wait()
		before := src.hub.clock.now()
		first := tell
		_, _ = io.WriteString(first, tooOldState)
		first.Close()
		synctest.Wait()
		src.hub.mu.Lock()
		if !src.synced || !src.lostAt.IsZero() || src.failure != nil {
			t.Errorf("synced %v, lost since %v, because of %v", src.synced, src.lostAt, src.failure)
		}
		src.hub.mu.Unlock()
		if n := s.whole.Load(); n != 2 || !src.hub.clock.now().Equal(before) {
			t.Errorf("the whole state was asked for %d times", n)
		}
		cancel()
		<-ended

		var again streams
		src = again.source(t, Config{}, func(*http.Request) io.ReadCloser {
			return io.NopCloser(strings.NewReader(oneObject + wholeState + tooOldState))
		})
		src.runFor(t, 10*time.Minute, func() {})
		if n := again.whole.Load(); n < 60 || n > 170 {
			t.Errorf("the whole state was asked for %d times in ten minutes", n)
		}
	})
}

// One connection breaks, and the next is refused: that is one outage, and one line.
func TestOneOutageIsOneLineWhateverTheNetworkCallsIt(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	h := quietHub(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	because := func(err error) *registry.Error {
		return &registry.Error{Code: registry.Unavailable, Message: "cannot reach the Kubernetes API server", Err: err}
	}
	broken, refused := because(syscall.EPIPE), because(syscall.ECONNREFUSED)
	h.failed(broken)
	h.failed(refused)
	h.mended(broken)
	h.failed(because(syscall.ECONNRESET))
	h.mended(refused)
	if strings.Count(log.String(), "lost or refused") != 1 || strings.Contains(log.String(), "is back") {
		t.Errorf("while it lasts:\n%s", &log)
	}
	h.mended(refused)
	if strings.Count(log.String(), "is back") != 1 || len(h.failures) > 0 {
		t.Errorf("at its end, with %v:\n%s", h.failures, &log)
	}
}
