package dubbo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire is the provider's end of a connection.
type wire struct {
	t    testing.TB
	conn net.Conn
}

// next reads a frame.
func (w *wire) next() (header, []byte, error) {
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(w.conn, b); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		w.t.Error(err)
		return h, nil, err
	}
	body := make([]byte, h.length)
	_, err = io.ReadFull(w.conn, body)
	return h, body, err
}

func (w *wire) mustNext() (header, []byte) {
	w.t.Helper()
	h, body, err := w.next()
	if err != nil {
		w.t.Fatal(err)
	}
	return h, body
}

func (w *wire) write(flags, status byte, id uint64, body ...byte) {
	// The other end may be gone, which its own calls tell.
	_, _ = w.conn.Write(append(appendHeader(nil, flags, status, id, len(body)), body...))
}

func (w *wire) answer(id uint64, value string) {
	w.write(hessian2, statusOK, id, appendString(appendInt(nil, answerValue), value)...)
}

// pipes returns a client whose connections are pipes to the returned wires.
func pipes(t testing.TB, cfg clientConfig) (*client, chan *wire) {
	wires := make(chan *wire, 16)
	cfg.dial = func(context.Context, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		wires <- &wire{t, theirs}
		return ours, nil
	}
	return newClient("provider:20880", cfg), wires
}

func frame(body string) func(uint64) []byte {
	return func(id uint64) []byte {
		return append(appendHeader(nil, flagRequest|flagTwoWay|hessian2, 0, id, len(body)), body...)
	}
}

func (c *client) ask(ctx context.Context, body string) (string, error) {
	r, err := c.do(ctx, frame(body))
	if err != nil {
		return "", err
	}
	defer r.release()
	var rd reader
	a, p := readAnswer(&rd, r.header, *r.body, false)
	if p != nil {
		return "", p
	}
	return string(a.json), nil
}

func TestClientAnswersInAnyOrder(t *testing.T) {
	c, wires := pipes(t, clientConfig{})
	defer c.Close()
	var wg sync.WaitGroup
	const n = 50
	for i := range n {
		wg.Go(func() {
			want := strconv.Itoa(i)
			if got, err := c.ask(t.Context(), want); err != nil || got != `"`+want+`"` {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
	w := <-wires
	type request struct {
		id   uint64
		body string
	}
	var all []request
	for range n {
		h, body := w.mustNext()
		all = append(all, request{h.id, string(body)})
	}
	for i := n - 1; i >= 0; i-- {
		w.answer(all[i].id, all[i].body)
	}
	wg.Wait()
}

func TestClientLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{})
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			w := <-wires
			late, _ := w.mustNext()
			<-time.After(2 * time.Second)
			w.answer(late.id, "late")
			w.write(hessian2, statusOK, 9999, 'N') // nobody's
			h, _ := w.mustNext()
			w.answer(h.id, "good")
			w.write(hessian2, statusOK, h.id, 'N') // twice
			h, _ = w.mustNext()
			w.answer(h.id, "again")
		}()
		if _, err := c.ask(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		for _, want := range []string{`"good"`, `"again"`} {
			if got, err := c.ask(t.Context(), "x"); err != nil || got != want {
				t.Errorf("%s, %v; want %s", got, err, want)
			}
		}
		if cn := c.live.Load(); len(cn.pending) != 0 {
			t.Errorf("%d calls are left", len(cn.pending))
		}
	})
}

func TestClientHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{})
		defer c.Close()
		ended := make(chan error)
		go func() {
			_, err := c.ask(t.Context(), "x")
			ended <- err
		}()
		w := <-wires
		w.mustNext()
		// The provider asks, and is answered.
		w.write(flagRequest|flagTwoWay|flagEvent|hessian2, 0, 77, tagNull)
		if h, body := w.mustNext(); h.flags != flagEvent|hessian2 || h.status != statusOK || h.id != 77 || string(body) != "N" {
			t.Errorf("answers %+v %q", h, body)
		}
		// A provider that is silent is asked, and lives as long as it answers.
		for range 5 {
			if h, _ := w.mustNext(); h.flags != flagRequest|flagTwoWay|flagEvent|hessian2 {
				t.Errorf("asks %+v", h)
			}
			w.write(flagEvent|hessian2, statusOK, 0, tagNull)
		}
		for range deadAfter {
			w.mustNext()
		}
		if err := <-ended; err == nil || errors.As(err, new(*unsentError)) {
			t.Errorf("a call at a dead provider: %v", err)
		}
	})
}

func TestClientDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{})
		defer c.Close()
		go func() { _, _ = c.ask(t.Context(), "x") }() // its answer is not waited for
		w := <-wires
		h, _ := w.mustNext()
		if c.draining() {
			t.Error("drains before it was told to")
		}
		w.write(flagRequest|flagEvent|hessian2, 0, 1, 1, 'R')
		synctest.Wait()
		if !c.draining() {
			t.Error("does not drain")
		}
		w.answer(h.id, "fine")
		w.write(flagRequest|flagEvent|hessian2, 0, 1, 1, 'W')
		synctest.Wait()
		if c.draining() {
			t.Error("drains though it was told not to any more")
		}
	})
}

// When a connection breaks, calls are told apart: those that the system took may
// have run, those that waited did not.
func TestClientBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{})
		defer c.Close()
		type result struct {
			body string
			err  error
		}
		results := make(chan result)
		ask := func(body string) {
			go func() {
				_, err := c.ask(t.Context(), body)
				results <- result{body, err}
			}()
			synctest.Wait()
		}
		ask("taken")
		w := <-wires
		w.mustNext()
		synctest.Wait()
		ask("being written")
		half := make([]byte, 10) // of its header
		if _, err := io.ReadFull(w.conn, half); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ask("waits")
		w.conn.Close()
		for range 3 {
			r := <-results
			if r.err == nil {
				t.Fatalf("%s: answered", r.body)
			}
			unsent := errors.As(r.err, new(*unsentError))
			switch r.body {
			case "taken":
				if unsent {
					t.Error("what the provider has is said not to have run")
				}
			case "waits":
				if !unsent {
					t.Errorf("what was never written is said to have run perhaps: %v", r.err)
				}
			}
		}
		// The next call connects again.
		go func() {
			w := <-wires
			h, _ := w.mustNext()
			w.answer(h.id, "back")
		}()
		if got, err := c.ask(t.Context(), "x"); err != nil || got != `"back"` {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func TestClientBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		var mu sync.Mutex
		c := newClient("nowhere:1", clientConfig{dial: func(context.Context, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			dials++
			return nil, errors.New("refused")
		}})
		defer c.Close()
		began := time.Now()
		asked := 0
		for time.Since(began) < time.Minute {
			asked++
			if _, err := c.ask(t.Context(), "x"); !errors.As(err, new(*unsentError)) {
				t.Fatal(err)
			}
			<-time.After(10 * time.Millisecond)
		}
		mu.Lock()
		defer mu.Unlock()
		// 0.1, 0.2, … 10 s, less half of each at most.
		if dials < 8 || dials > 25 || asked < 1000 {
			t.Errorf("%d dials for %d calls in a minute", dials, asked)
		}
		if !c.unreachable() {
			t.Error("does not say that it is unreachable")
		}
	})
}

func TestClientBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{maxPending: 2, maxAnswer: 100})
		results := make(chan error)
		for range 2 {
			go func() {
				_, err := c.ask(t.Context(), "x")
				results <- err
			}()
		}
		w := <-wires
		first, _ := w.mustNext()
		second, _ := w.mustNext()
		if _, err := c.ask(t.Context(), "x"); !errors.Is(err, errPending) || !errors.As(err, new(*unsentError)) {
			t.Errorf("%v", err)
		}
		w.write(hessian2, statusOK, first.id, bytes.Repeat([]byte{'N'}, 101)...)
		if err := <-results; !errors.Is(err, errTooLarge) {
			t.Errorf("%v", err)
		}
		w.answer(second.id, "small")
		if err := <-results; err != nil {
			t.Error(err)
		}
		c.Close()
		c.Close()
		if _, err := c.ask(t.Context(), "x"); !errors.Is(err, errClosed) {
			t.Errorf("%v", err)
		}
	})
}

func TestClientRefusesOtherProtocols(t *testing.T) {
	c, wires := pipes(t, clientConfig{})
	defer c.Close()
	go func() {
		w := <-wires
		w.mustNext()
		_, _ = w.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) // its end does not read it all
	}()
	if _, err := c.ask(t.Context(), "x"); err == nil || errors.As(err, new(*unsentError)) {
		t.Errorf("%v", err)
	}
}

func TestClientGivesUpConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient("silent:1", clientConfig{dial: func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.ask(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, new(*unsentError)) {
			t.Errorf("%v", err)
		}
	})
}

// Bytes of any kind break the connection at most.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("\xda\xbb\xe2\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01N"))
	f.Add([]byte("\xda\xbb\x02\x14\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03\x91\x01x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, wires := pipes(t, clientConfig{maxAnswer: 1 << 10})
		defer c.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = c.ask(t.Context(), "x") // whatever comes of it
		}()
		w := <-wires
		w.mustNext()
		go func() {
			defer w.conn.Close()
			_, _ = w.conn.Write(b) // the other end may close in the middle
		}()
		// What the client sends in answer has to be taken off the pipe.
		_, _ = io.Copy(io.Discard, w.conn) // it ends with the connection
		<-done
	})
}

func TestClientGivesUpOnHalfAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, wires := pipes(t, clientConfig{})
		defer c.Close()
		go func() {
			w := <-wires
			h, _ := w.mustNext()
			_, _ = w.conn.Write(appendHeader(nil, hessian2, statusOK, h.id, 100)) // and not the 100 bytes
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.ask(ctx, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: the call did not end with its deadline", err)
		}
	})
}
