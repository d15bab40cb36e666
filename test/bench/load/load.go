//go:build linux

// Package load sends requests at a steady rate over kept connections, from a
// process of its own.
package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Role is that of the process that sends.
const Role = "load"

// Run sends requests when told to, until the benchmark ends.
func Run() error {
	return child.Serve(map[string]child.Handler{"drive": child.Handle(Drive)})
}

// Start starts a process that sends.
func Start(dir string) (*child.Process, error) { return child.Start(Role, dir) }

// Work is one stretch of load.
type Work struct {
	Address     string        `json:"address"`
	Path        string        `json:"path"`
	Connections int           `json:"connections"`
	Rate        int           `json:"rate"` // requests per second over all connections; 0 for as fast as it goes
	For         time.Duration `json:"for"`
}

// Outcome is what came of it. Latencies are in nanoseconds, from when a request
// was due to its answer's last byte: waiting counts.
type Outcome struct {
	Requests int64         `json:"requests"`
	Failed   int64         `json:"failed"`
	Error    string        `json:"error,omitempty"` // the first
	Took     time.Duration `json:"took"`
	P50      float64       `json:"p50"`
	P99      float64       `json:"p99"`
	Max      float64       `json:"max"`
}

// Drive sends requests over a fixed number of kept connections, each on a
// schedule of its own, and waits for the answers.
func Drive(w Work) (Outcome, error) {
	if w.Connections < 1 {
		return Outcome{}, errors.New("no connections to send by")
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.For)
	defer cancel()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		o     Outcome
		times sample.Set
	)
	began := time.Now()
	for i := range w.Connections {
		wg.Go(func() {
			c := &connection{Work: w}
			err := c.run(ctx, began, i)
			mu.Lock()
			defer mu.Unlock()
			o.Requests += int64(len(c.times))
			o.Failed += c.failed
			times.Add(c.times...)
			if err != nil && o.Error == "" {
				o.Error = err.Error()
			}
		})
	}
	wg.Wait()
	o.Took = time.Since(began)
	o.P50, o.P99, o.Max = times.Quantile(0.5), times.Quantile(0.99), times.Max()
	if o.Requests == 0 {
		return o, fmt.Errorf("no request was answered: %s", o.Error)
	}
	return o, nil
}

type connection struct {
	Work
	times  []float64
	failed int64
}

// run keeps one connection busy until ctx ends. A request that is due while
// the one before is not answered waits, and its waiting counts.
func (c *connection) run(ctx context.Context, began time.Time, index int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 8<<10)
	request := []byte("GET " + c.Path + " HTTP/1.1\r\nHost: bench.example.com\r\nUser-Agent: bench\r\nX-Tenant: a\r\n\r\n")
	var interval time.Duration
	if c.Rate > 0 {
		interval = time.Second * time.Duration(c.Connections) / time.Duration(c.Rate)
	}
	due := began.Add(interval * time.Duration(index) / time.Duration(c.Connections))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		if interval == 0 {
			due = time.Now()
		} else if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		}
		if _, err := conn.Write(request); err != nil {
			c.failed++
			return err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			c.failed++
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if cerr := resp.Body.Close(); err == nil {
			err = cerr
		}
		switch {
		case err != nil:
			c.failed++
			return err
		case resp.StatusCode != http.StatusOK:
			c.failed++
			return fmt.Errorf("answered %s", resp.Status)
		}
		c.times = append(c.times, float64(time.Since(due)))
		due = due.Add(interval)
	}
	return nil
}
