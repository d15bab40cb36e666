//go:build linux

package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/registry"
	"dubbo.apache.org/dubbo-go/v3/remoting"

	"github.com/weirmesh/weir/test/bench/plan"
)

func events(instances ...int) []*registry.ServiceEvent {
	var out []*registry.ServiceEvent
	for _, i := range instances {
		out = append(out, &registry.ServiceEvent{Action: remoting.EventTypeAdd, Service: common.NewURLWithOptions(common.WithIp(plan.Host(i)))})
	}
	return out
}

// told calls NotifyAll and fails the test unless the callback was called.
func told(t *testing.T, l *list, instances ...int) {
	t.Helper()
	called := false
	l.NotifyAll(events(instances...), func() { called = true })
	if !called {
		t.Fatal("NotifyAll did not call back")
	}
}

func TestListFollowsWhatItIsTold(t *testing.T) {
	r := newRecorder(plan.Plan{Instances: 6, Apps: 2}) // application 0 has 0, 2 and 4
	l := r.lists[0]
	told(t, l, 0, 2)
	if l.count != 2 {
		t.Fatalf("%d in the list, want 2", l.count)
	}
	l.Notify(events(4)[0])
	if l.count != 3 {
		t.Fatalf("%d in the list after one more, want 3", l.count)
	}
	gone := events(2)[0]
	gone.Action = remoting.EventTypeDel
	l.Notify(gone)
	if l.count != 2 {
		t.Fatalf("%d in the list after one less, want 2", l.count)
	}
	told(t, l, 0, 0, 2, 4)
	if l.count != 3 {
		t.Fatalf("%d in the list, want 3: one was named twice", l.count)
	}
	told(t, l)
	if _, told, empty := l.outcome(); told != 3 || empty != 1 {
		t.Errorf("told %d times and %d times of nothing, want 3 and 1", told, empty)
	}
	told(t, l, 1, 0, 7)
	if missing, strays := r.missing(); missing != 2+3 || strays != 2 {
		t.Errorf("%d missing and %d strays, want 5 and 2", missing, strays)
	}
}

func TestListNotesTheChangeWaitedForOnce(t *testing.T) {
	r := newRecorder(plan.Plan{Instances: 3, Apps: 1})
	l := r.lists[0]
	told(t, l, 0, 1, 2)
	if !r.full() {
		t.Fatal("all were named, and the lists are not full")
	}
	if l.arm(1, true) {
		t.Error("an arrival was announced of one who is here")
	}
	if !l.arm(1, false) {
		t.Fatal("a departure was refused of one who is here")
	}
	told(t, l, 0, 1, 2)
	if notified, _, _ := l.outcome(); notified != 0 {
		t.Fatal("a list that still has the instance counted as its departure")
	}
	told(t, l, 0, 2)
	first, _, _ := l.outcome()
	if first == 0 {
		t.Fatal("the departure went unnoticed")
	}
	told(t, l, 0, 2)
	if again, _, _ := l.outcome(); again != first {
		t.Error("a later list took the first's place")
	}
}

func TestHostsOfASnapshot(t *testing.T) {
	r := newRecorder(plan.Plan{Instances: 4, Apps: 2})
	l := r.lists[1]
	l.replaceHosts(func(yield func(string) bool) { _ = yield(plan.Host(1)) && yield(plan.Host(3)) })
	if l.count != 2 {
		t.Errorf("%d in the list, want 2", l.count)
	}
}

func TestUntilEndsWithItsContext(t *testing.T) {
	r := newRecorder(plan.Plan{Instances: 1, Apps: 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if err := r.until(ctx, func() bool { return false }); !errors.Is(err, why) {
		t.Errorf("until returned %v", err)
	}
	if err := r.until(ctx, func() bool { return true }); err != nil {
		t.Errorf("until returned %v though its condition held", err)
	}
}

func TestRestWaitsOutTheLastCall(t *testing.T) {
	r := newRecorder(plan.Plan{Instances: 1, Apps: 1})
	told(t, r.lists[0], 0)
	const quiet = 20 * time.Millisecond
	if err := r.rest(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.rest(ctx, time.Hour); err == nil {
		t.Error("rest found an hour of quiet at once")
	}
}

func TestGapsAddUp(t *testing.T) {
	var g gaps
	g.note(0, 3, 5) // before start: does not count
	g.start(3, 3, 10)
	g.note(2, 3, 20) // short from 20
	g.note(0, 3, 30) // empty from 30
	g.note(0, 3, 35) // still empty
	g.note(1, 3, 50) // empty for 20
	g.note(0, 3, 60) // empty from 60
	g.note(3, 3, 65) // empty for 5, short for 45
	g.note(2, 3, 90) // short from 90
	got := g.stop(100)
	if got.emptyFor != 25 || got.emptyMax != 20 || got.shortFor != 55 || got.calls != 7 || got.emptyCalls != 3 {
		t.Errorf("got %+v", got)
	}
	g.note(0, 3, 200)
	if g.calls != 7 {
		t.Error("a call after the end was counted")
	}
}

func TestGapsThatAreOpenAtTheEnd(t *testing.T) {
	var g gaps
	g.start(0, 3, 10)
	got := g.stop(40)
	if got.emptyFor != 30 || got.emptyMax != 30 || got.shortFor != 30 {
		t.Errorf("got %+v", got)
	}
}

// frames is a connection that yields what a server sent, in pieces.
type frames struct {
	net.Conn
	data  []byte
	piece int
}

func (f *frames) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.data[:min(f.piece, len(f.data))])
	f.data = f.data[n:]
	return n, nil
}

func frame(id uint32, text string) []byte {
	body := append(binary.BigEndian.AppendUint32(nil, id), text...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestTappedConnTellsFramesApart(t *testing.T) {
	for piece := 1; piece < 80; piece++ {
		var sent []byte
		sent = append(sent, frame(7, "an answer about /services/bench-001")...)
		sent = append(sent, frame(watchFired, "/services/bench-002")...)
		sent = append(sent, frame(watchFired, "/services/bench-001")...)
		sent = append(sent, frame(8, "")...)
		tapped := &tap{}
		tapped.arm("bench-001")
		c := &tappedConn{Conn: &frames{data: sent, piece: piece}, tap: tapped}
		// Read up to the end of the first watch event, which is another's.
		first := len(frame(7, "an answer about /services/bench-001")) + len(frame(watchFired, "/services/bench-002"))
		if _, err := io.ReadFull(c, make([]byte, first)); err != nil {
			t.Fatal(err)
		}
		if tapped.arrived() != 0 {
			t.Fatalf("in pieces of %d: an answer or another's event was taken for the event", piece)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
		if tapped.arrived() == 0 {
			t.Fatalf("in pieces of %d: the event was missed", piece)
		}
		if messages, _ := tapped.traffic(); messages != 4 {
			t.Fatalf("in pieces of %d: %d messages, want 4", piece, messages)
		}
	}
}

func TestTappedTransportHearsEndpointSlicesOnly(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"metadata":{"name":"bench-001-x7k2p"}}`)
	}))
	defer server.Close()
	tapped := &tap{}
	client := &http.Client{Transport: &tappedTransport{next: server.Client().Transport, tap: tapped}}
	read := func(path string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
	}
	tapped.arm("bench-001")
	read("/api/v1/namespaces/weir-bench/pods?watch=true")
	if tapped.arrived() != 0 {
		t.Error("a pod's event was taken for the EndpointSlice's")
	}
	read("/apis/discovery.k8s.io/v1/namespaces/weir-bench/endpointslices?watch=true")
	if tapped.arrived() == 0 {
		t.Error("the EndpointSlice's event was missed")
	}
	tapped.arm("bench-002")
	read("/apis/discovery.k8s.io/v1/namespaces/weir-bench/endpointslices?watch=true")
	if tapped.arrived() != 0 {
		t.Error("another application's event was taken for the armed one's")
	}
}
