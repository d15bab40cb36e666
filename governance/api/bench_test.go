package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/memory"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/testdb"
)

// pushed is the client's end of a stream in this process: it takes events off the
// handler's hands, without connections, so that what is measured is the control
// plane.
type pushed struct {
	header http.Header
	sets   chan governance.ReportAnswer // version and hash of each set
	buf    []byte
}

func (p *pushed) Header() http.Header              { return p.header }
func (p *pushed) WriteHeader(int)                  {}
func (p *pushed) SetWriteDeadline(time.Time) error { return nil }
func (p *pushed) Write(b []byte) (int, error)      { p.buf = append(p.buf, b...); return len(b), nil }

// FlushError ends one event.
func (p *pushed) FlushError() error {
	if _, rest, ok := bytes.Cut(p.buf, []byte("\nid: ")); ok {
		var a governance.ReportAnswer
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		if _, err := fmt.Sscanf(string(line), "%d:%s", &a.Version, &a.Hash); err != nil {
			return err
		}
		p.sets <- a
	}
	p.buf = p.buf[:0]
	return nil
}

// BenchmarkPush is the time from a write's begin until the last of many streams'
// instances has its acknowledgement stored, a report of its own for each.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("store=memory/streams=%d", n), func(b *testing.B) {
			push(b, memory.New(memory.Options{}), n)
		})
		b.Run(fmt.Sprintf("store=postgres/streams=%d", n), func(b *testing.B) {
			db := testdb.New(b, testdb.Migrated(postgres.Schema, postgres.Migrations()))
			push(b, postgres.New(db.Pool(), postgres.Options{}), n)
		})
	}
}

func push(b *testing.B, store governance.Store, n int) {
	a := api.New(api.Config{Store: store, MaxReports: n})
	h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "bench", Version: "1", Auth: auth{}, Audit: &journal{}})
	a.Register(h)
	ctx, cancel := context.WithCancel(context.Background())
	var life sync.WaitGroup
	life.Go(func() { _ = a.Run(ctx) })
	for a.Ready() != nil {
		pauseFor(b, time.Millisecond)
	}
	handler := h.Handler()
	streams := make([]*pushed, n)
	for i := range streams {
		s := &pushed{header: http.Header{}, sets: make(chan governance.ReportAnswer, 16)}
		streams[i] = s
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?app=shop/inventory&instance=i%d&name=i%d", governance.StreamPath, i, i), http.NoBody)
		req.Header.Set("Authorization", "Bearer operator")
		life.Go(func() { handler.ServeHTTP(s, req) })
	}
	seq := int64(0)
	ack := func(i int, set governance.ReportAnswer) {
		raw, err := json.Marshal(governance.Report{
			Wire: 1, App: inventory, Instance: fmt.Sprint("i", i), Boot: "b", Seq: seq, Applied: &governance.Applied{Version: set.Version, Hash: set.Hash},
		})
		if err != nil {
			b.Error(err)
			return
		}
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, governance.ReportsPath, bytes.NewReader(raw))
		req.Header.Set("Authorization", "Bearer operator")
		w := httptest.NewRecorder()
		if handler.ServeHTTP(w, req); w.Code != http.StatusAccepted {
			b.Errorf("%d %s", w.Code, w.Body)
		}
	}
	// all waits until each stream has a set of at least a version, and returns how
	// long each took until its acknowledgement was stored.
	all := func(version int64, begin time.Time) (delivered, acknowledged []time.Duration) {
		seq++
		delivered, acknowledged = make([]time.Duration, n), make([]time.Duration, n)
		var wg sync.WaitGroup
		for i, s := range streams {
			wg.Go(func() {
				set := <-s.sets
				for set.Version < version {
					set = <-s.sets
				}
				delivered[i] = time.Since(begin)
				ack(i, set)
				acknowledged[i] = time.Since(begin)
			})
		}
		wg.Wait()
		slices.Sort(delivered)
		slices.Sort(acknowledged)
		return delivered, acknowledged
	}
	all(0, time.Now())

	var got, said []time.Duration
	for b.Loop() {
		p := timeout(inventory, "", time.Duration(seq+1)*time.Millisecond)
		begin := time.Now()
		v, err := store.Put(ctx, p, governance.AnyVersion, governance.Change{Actor: "bench", Reason: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		d, s := all(v.Version, begin)
		got, said = append(got, d...), append(said, s...)
	}
	slices.Sort(got)
	slices.Sort(said)
	at := func(all []time.Duration, q float64) float64 {
		return float64(all[min(len(all)-1, int(q*float64(len(all))))]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(got, 0.5), "ms-delivered-p50")
	b.ReportMetric(at(got, 0.99), "ms-delivered-p99")
	b.ReportMetric(at(said, 0.5), "ms-acked-p50")
	b.ReportMetric(at(said, 0.99), "ms-acked-p99")
	cancel()
	life.Wait()
}

func pauseFor(b *testing.B, d time.Duration) {
	b.Helper()
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}
