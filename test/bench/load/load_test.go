//go:build linux

package load

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server and returns its address.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestEachRequestIsCounted(t *testing.T) {
	var asked atomic.Int64
	var connections sync.Map
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		connections.Store(r.RemoteAddr, true)
		if r.URL.Path != "/items/1" || r.Host != "bench.example.com" || r.Header.Get("X-Tenant") != "a" {
			t.Errorf("asked for %s of %s", r.URL.Path, r.Host)
		}
		_, _ = w.Write(make([]byte, 20_000)) // more than one read takes
	})
	o, err := Drive(Work{Address: address, Path: "/items/1", Connections: 3, For: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	connections.Range(func(any, any) bool { kept++; return true })
	if o.Failed != 0 || o.Error != "" || o.Requests == 0 || o.Requests != asked.Load() || kept != 3 {
		t.Errorf("%+v of %d requests over %d connections", o, asked.Load(), kept)
	}
	if o.P50 <= 0 || o.P50 > o.P99 || o.P99 > o.Max || o.Took < 100*time.Millisecond {
		t.Errorf("times of %+v", o)
	}
}

// TestScheduleIsKept holds requests back: a slower server is sent as many requests
// as were due, and the time that they waited counts.
func TestScheduleIsKept(t *testing.T) {
	var held sync.Once
	address := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		held.Do(func() {
			timer := time.NewTimer(200 * time.Millisecond)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
		})
	})
	o, err := Drive(Work{Address: address, Path: "/", Connections: 1, Rate: 100, For: 400 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// 40 are due. Without a schedule there would be thousands, and without
	// counting what waits the median would be that of a quick answer.
	if o.Requests > 41 {
		t.Errorf("%d requests, and 40 were due", o.Requests)
	}
	if o.Max < 200e6 {
		t.Errorf("the longest took %s", time.Duration(o.Max))
	}
}

func TestFailuresAreTold(t *testing.T) {
	var asked atomic.Int64
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) > 2 {
			w.WriteHeader(http.StatusBadGateway)
		}
	})
	o, err := Drive(Work{Address: address, Path: "/", Connections: 1, For: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if o.Requests != 2 || o.Failed != 1 || !strings.Contains(o.Error, "502") {
		t.Errorf("got %+v", o)
	}
}

func TestNothingAnsweredIsAnError(t *testing.T) {
	s := httptest.NewServer(nil)
	address := s.Listener.Addr().String()
	s.Close()
	for _, w := range []Work{{Address: address, Path: "/", Connections: 1, For: time.Second}, {Address: address, Path: "/", For: time.Second}} {
		if o, err := Drive(w); err == nil {
			t.Errorf("%+v gave %+v", w, o)
		}
	}
}
