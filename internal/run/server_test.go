package run_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/run"
)

const patience = 20 * time.Second // how long a test waits for what must happen

func eventually(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

func TestServerDrainsBeforeItEnds(t *testing.T) {
	var h run.Health
	began, finish := make(chan struct{}), make(chan struct{})
	var registered net.Addr
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-finish
		io.WriteString(w, "whole")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		<-run.Draining(r.Context())
		io.WriteString(w, "last\n")
	})
	s := run.NewServer(run.ServerConfig{
		Address: "127.0.0.1:0", Handler: mux, Ready: h.Check("http", "starting"),
		OnListen: func(_ context.Context, a net.Addr) error { registered = a; return nil },
	})
	if len(h.Reasons()) == 0 {
		t.Error("ready before it was started")
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if registered == nil || registered.String() != s.Addr().String() {
		t.Errorf("registered %v, bound %v", registered, s.Addr())
	}
	if r := h.Reasons(); len(r) != 0 {
		t.Errorf("not ready once serving: %v", r)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	base := "http://" + s.Addr().String()

	stream, err := client.Get(base + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	if l, err := lines.ReadString('\n'); l != "first\n" {
		t.Fatalf("stream began with %q, %v", l, err)
	}
	type answer struct {
		body string
		err  error
	}
	slow := make(chan answer, 1)
	go func() {
		resp, err := client.Get(base + "/slow")
		if err != nil {
			slow <- answer{err: err}
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		slow <- answer{string(b), err}
	}()
	eventually(t, "the slow request", began)

	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.Background()) }()
	// The stream's end tells that draining has begun; the slow request still runs.
	if l, err := lines.ReadString('\n'); l != "last\n" {
		t.Fatalf("stream ended with %q, %v", l, err)
	}
	if r := strings.Join(h.Reasons(), ""); r != "http: stopping" {
		t.Errorf("readiness while draining: %q", r)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a request under way: %v", err)
	default:
	}
	close(finish)
	if a := <-slow; a.body != "whole" {
		t.Errorf("the request under way got %+v", a)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("still accepting after Stop")
	}
	if err := s.Watch(t.Context()); err != nil {
		t.Errorf("an ordered end was reported as %v", err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

// While the delay lasts, new connections are served: whoever still sends here
// has not yet heard that the server is going.
func TestServerServesOnWhileItIsLeaving(t *testing.T) {
	var h run.Health
	s := run.NewServer(run.ServerConfig{
		Address: "127.0.0.1:0", Delay: time.Hour, Ready: h.Check("http", "starting"),
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	unready, cut := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(unready) }()
	for deadline := time.Now().Add(patience); len(h.Reasons()) == 0; runtime.Gosched() { // Fail is the first thing that Stop does
		if time.Now().After(deadline) {
			t.Fatal("never turned unready")
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr().String())
	if err != nil {
		t.Fatalf("refused while leaving: %v", err)
	}
	resp.Body.Close()
	cut() // the deadline ends the wait, and with nothing under way all is well
	if err := <-stopped; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestServerCutsOffWhatOutlastsTheDeadline(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	s := run.NewServer(run.ServerConfig{Address: "127.0.0.1:0", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	})})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	failed := make(chan error, 1)
	go func() {
		resp, err := client.Get("http://" + s.Addr().String())
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	eventually(t, "the request", began)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "requests under way were cut off") {
		t.Errorf("got %v", err)
	}
	eventually(t, "the handler", ended)
	if err := <-failed; err == nil {
		t.Error("the client saw no end")
	}
}

func TestServerTellsWhichFlagHelps(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := run.NewServer(run.ServerConfig{Address: l.Addr().String(), Flag: "--listen"})
	want := "the address " + l.Addr().String() + " is taken by another process; choose another address with --listen"
	if err := s.Start(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop of what never started: %v", err)
	}
}

func TestServerThatCannotRegisterDoesNotServe(t *testing.T) {
	broken := errors.New("no permission")
	s := run.NewServer(run.ServerConfig{Address: "127.0.0.1:0", OnListen: func(context.Context, net.Addr) error { return broken }})
	if err := s.Start(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	addr := s.Addr().String()
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the address is still bound")
	}
}
