//go:build linux

package samples

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/governance"
)

// rows keeps a row for each sample, as a table of measurements made with care
// does: names are numbers, columns lie without holes, one index serves the reader
// of a command's history, and a second of all instances is one COPY.
type rows struct {
	pool      *pgxpool.Pool
	series    map[governance.Series]int32
	instances map[string]int32
}

func (r *rows) create(ctx context.Context) error {
	r.series, r.instances = map[governance.Series]int32{}, map[string]int32{}
	_, err := r.pool.Exec(ctx, `CREATE SCHEMA plain;
		CREATE TABLE plain.sample (
			at timestamptz NOT NULL,
			series int NOT NULL, instance int NOT NULL,
			success int NOT NULL, failure int NOT NULL, ignored int NOT NULL, timeout int NOT NULL, canceled int NOT NULL,
			rejected int NOT NULL, short_circuited int NOT NULL, switched int NOT NULL,
			fallback_success int NOT NULL, fallback_failure int NOT NULL, slow int NOT NULL,
			in_flight int NOT NULL, state smallint NOT NULL, lossy boolean NOT NULL,
			latency bytea NOT NULL
		);
		CREATE INDEX sample_series ON plain.sample (series, at);`)
	return err
}

// write stores each second in a transaction. The numbers of names are known: what
// tables of them would take does not count.
func (r *rows) write(ctx context.Context, seconds [][]governance.Report) error {
	for _, reports := range seconds {
		var values [][]any
		for _, report := range reports {
			for _, s := range report.Samples {
				c := s.Counts
				values = append(values, []any{
					time.Unix(s.Second, 0), number(r.series, s.Series), number(r.instances, report.Instance),
					c.Success, c.Failure, c.Ignored, c.Timeout, c.Canceled, c.Rejected, c.ShortCircuited, c.Switched,
					c.FallbackSuccess, c.FallbackFailure, c.Slow, s.InFlight, int16(0), s.Lossy, s.Latency,
				})
			}
		}
		if _, err := r.pool.CopyFrom(ctx, pgx.Identifier{"plain", "sample"}, columns, pgx.CopyFromRows(values)); err != nil {
			return err
		}
	}
	return nil
}

var columns = []string{
	"at", "series", "instance", "success", "failure", "ignored", "timeout", "canceled", "rejected", "short_circuited", "switched",
	"fallback_success", "fallback_failure", "slow", "in_flight", "state", "lossy", "latency",
}

func number[K comparable](known map[K]int32, key K) int32 {
	n, ok := known[key]
	if !ok {
		n = int32(len(known))
		known[key] = n
	}
	return n
}

func (r *rows) finish(context.Context) error { return nil }

func (r *rows) tables() map[string][]string { return map[string][]string{byInstance: {"plain.sample"}} }
