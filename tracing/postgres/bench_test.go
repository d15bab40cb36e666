package postgres_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

// BenchmarkStore stores bodies of 100 spans from eight senders, decoding included,
// and links what it stored; it prints spans per second and bytes per span.
func BenchmarkStore(b *testing.B) {
	pool := database(b)
	s := open(b, pool, postgres.Config{Quiet: -1})
	g := tracingtest.NewGenerator(61, time.Now().Add(-time.Minute))
	var bodies [][]byte
	for _, body := range g.Bodies(60_000, 100) {
		if len(body) == 100 {
			bodies = append(bodies, tracing.AppendJSONList(nil, body))
		}
	}
	postgres.TrainAfter(s, 3000)
	send := func(raw []byte) {
		spans, err := tracing.DecodeJSON(raw)
		if err == nil {
			err = s.Write(b.Context(), spans)
		}
		if err != nil {
			b.Error(err)
		}
	}
	all := func(bodies [][]byte) {
		var next atomic.Int64
		var senders sync.WaitGroup
		for range 8 {
			senders.Go(func() {
				for i := next.Add(1) - 1; i < int64(len(bodies)); i = next.Add(1) - 1 {
					send(bodies[i])
				}
			})
		}
		senders.Wait()
	}
	warm := len(bodies) / 2
	all(bodies[:warm])
	if err := postgres.Train(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	bodies = bodies[warm:]
	var before, after int64
	size := func(into *int64) {
		if err := pool.QueryRow(b.Context(), "SELECT sum(pg_total_relation_size(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'tracing.fragment'::regclass").Scan(into); err != nil {
			b.Fatal(err)
		}
	}
	size(&before)
	b.ResetTimer()
	rounds := 0
	for b.Loop() {
		all(bodies)
		rounds++
	}
	b.StopTimer()
	spans := float64(rounds * len(bodies) * 100)
	b.ReportMetric(spans/b.Elapsed().Seconds(), "spans/s")
	size(&after)
	b.ReportMetric(float64(after-before)/spans, "B/span")
	for _, index := range []string{"trace", "service_at", "at", "terms"} {
		var n int64
		if err := pool.QueryRow(b.Context(), "SELECT sum(pg_relation_size(indexrelid))::bigint FROM pg_stat_all_indexes WHERE schemaname = 'tracing' AND indexrelname ~ ('fragment_[0-9]+_' || $1 || '_idx')", index).Scan(&n); err != nil {
			b.Fatal(err)
		}
		b.Logf("index %s: %d bytes per span", index, n/int64(spans+float64(warm*100)))
	}
	for table, what := range map[string]string{"pg_relation_size": "heap", "pg_indexes_size": "indexes"} {
		var n int64
		if err := pool.QueryRow(b.Context(), "SELECT sum("+table+"(inhrelid))::bigint FROM pg_inherits WHERE inhparent = 'tracing.fragment'::regclass").Scan(&n); err != nil {
			b.Fatal(err)
		}
		b.Logf("%s: %d bytes per span", what, n/int64(spans+float64(warm*100)))
	}
	began := time.Now()
	linkAll(b, s)
	b.ReportMetric(float64(warm+len(bodies))*100/time.Since(began).Seconds(), "linked-spans/s")
}
