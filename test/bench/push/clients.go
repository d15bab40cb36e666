//go:build linux

package push

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/sample"
)

// reportConnections carry the confirmations of all streams. Real services have
// one each; that many sockets in one process say nothing more, but as many as the
// control plane shares a transaction among are needed.
const reportConnections = 1000

// dialing is how many streams are opened at once.
const dialing = 128

// fleet are the instances of one process.
type fleet struct {
	address string
	streams []*stream

	reporters chan *reporter // those that are free
	failed    atomic.Pointer[error]

	mu      sync.Mutex
	changed *sync.Cond
}

// stream is one instance: it takes policy sets and confirms each.
type stream struct {
	fleet *fleet
	id    string
	seq   int64

	// Guarded by fleet.mu.
	version             int64 // the newest that was confirmed
	heard, acknowledged time.Time
}

// RunClients plays instances until the benchmark ends.
func RunClients() error {
	f := &fleet{reporters: make(chan *reporter, reportConnections)}
	for range reportConnections {
		f.reporters <- &reporter{}
	}
	f.changed = sync.NewCond(&f.mu)
	return child.Serve(map[string]child.Handler{
		"open":  child.Handle(f.open),
		"await": child.Handle(f.await),
	})
}

type openArgs struct {
	Address string `json:"address"`
	Streams int    `json:"streams"`
}

// open opens streams until there are as many as wanted.
func (f *fleet) open(a openArgs) (int, error) {
	f.address = a.Address
	slots := make(chan struct{}, dialing)
	for n := len(f.streams); n < a.Streams; n++ {
		s := &stream{fleet: f, id: fmt.Sprintf("bench-%05d", n)}
		f.streams = append(f.streams, s)
		slots <- struct{}{}
		opened := sync.OnceFunc(func() { <-slots })
		go func() {
			defer opened()
			if err := s.run(opened); err != nil {
				f.failed.CompareAndSwap(nil, &err)
				f.changed.Broadcast()
			}
		}()
	}
	for range dialing { // until the last one is open
		slots <- struct{}{}
	}
	return len(f.streams), f.err()
}

func (f *fleet) err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// run holds one stream.
func (s *stream) run(opened func()) error {
	conn, err := dial(s.fleet.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	query := url.Values{"app": {app.String()}, "instance": {s.id}, "wire": {fmt.Sprint(governance.WireVersion)}, "sdk": {"bench/0"}}
	if _, err := fmt.Fprintf(conn, "GET %s?%s HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer bench\r\nAccept: text/event-stream\r\n\r\n", governance.StreamPath, query.Encode()); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 2<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("stream %s: %s: %s", s.id, resp.Status, text)
	}
	opened()
	lines := bufio.NewReaderSize(resp.Body, 2<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("stream %s ended: %w", s.id, err)
		}
		data, ok := strings.CutPrefix(line, "data:")
		if !ok {
			continue
		}
		heard := time.Now()
		var set newest
		if err := json.Unmarshal([]byte(data), &set); err != nil {
			return fmt.Errorf("stream %s: %w", s.id, err)
		}
		if err := s.confirm(set); err != nil {
			return err
		}
		s.fleet.mu.Lock()
		s.version, s.heard, s.acknowledged = set.Version, heard, time.Now()
		s.fleet.mu.Unlock()
		s.fleet.changed.Signal()
	}
}

// newest is what is read of a policy set. The rest is for those who enforce it,
// each on a machine of its own, as are those who send.
type newest struct {
	Version int64  `json:"version"`
	Hash    string `json:"hash"`
}

// dial opens a connection, which ends with the process.
func dial(address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: time.Minute}).DialContext(context.Background(), "tcp", address)
}

// confirm tells the control plane that a set is enforced.
func (s *stream) confirm(set newest) error {
	s.seq++
	body, err := json.Marshal(governance.Report{
		Wire: governance.WireVersion, App: app, Instance: s.id, Boot: "bench", Seq: s.seq, Sent: time.Now(),
		Applied: &governance.Applied{Version: set.Version, Hash: set.Hash},
	})
	if err != nil {
		return err
	}
	for {
		c := <-s.fleet.reporters
		status, text, err := c.post(s.fleet.address, body)
		s.fleet.reporters <- c
		switch {
		case err != nil:
			return err
		case status == http.StatusAccepted:
			return nil
		case status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests:
			timer := time.NewTimer(50 * time.Millisecond) // as told, but sooner
			<-timer.C
		default:
			return fmt.Errorf("report of %s: %d: %s", s.id, status, text)
		}
	}
}

// reporter is one kept connection for confirmations. It writes requests itself:
// what senders cost is not what is measured, and has the same processors.
type reporter struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func (r *reporter) post(address string, body []byte) (status int, text []byte, err error) {
	if r.conn == nil {
		if r.conn, err = dial(address); err != nil {
			return 0, nil, err
		}
		r.in = bufio.NewReaderSize(r.conn, 1<<10)
	}
	r.out = fmt.Appendf(r.out[:0], "POST %s HTTP/1.1\r\nHost: control\r\nAuthorization: Bearer bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", governance.ReportsPath, len(body))
	if _, err = r.conn.Write(append(r.out, body...)); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		return 0, nil, err
	}
	text, err = io.ReadAll(resp.Body)
	return resp.StatusCode, text, errors.Join(err, resp.Body.Close())
}

// confirmed is how long all streams took, in nanoseconds from the write's begin.
type confirmed struct {
	HeardP50, HeardP99, HeardMax float64
	AckP50, AckP99, AckMax       float64
}

// await waits until every stream confirmed a publication.
func (f *fleet) await(p publication) (confirmed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		lacking := 0
		for _, s := range f.streams {
			if s.version < p.Version {
				lacking++
			}
		}
		if err := f.err(); err != nil {
			return confirmed{}, err
		}
		if lacking == 0 {
			break
		}
		f.changed.Wait()
	}
	if len(f.streams) == 0 {
		return confirmed{}, errors.New("there are no streams")
	}
	var heard, acknowledged sample.Set
	for _, s := range f.streams {
		heard.Add(float64(s.heard.Sub(p.Began)))
		acknowledged.Add(float64(s.acknowledged.Sub(p.Began)))
	}
	return confirmed{
		heard.Quantile(0.5), heard.Quantile(0.99), heard.Max(),
		acknowledged.Quantile(0.5), acknowledged.Quantile(0.99), acknowledged.Max(),
	}, nil
}
