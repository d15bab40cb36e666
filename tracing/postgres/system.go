package postgres

import (
	"context"
	"strconv"
	"time"

	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pg"
)

var _ node.Store = (*Store)(nil)

func (s *Store) nodes() pg.Nodes { return pg.Nodes{Pool: s.pool, Schema: Schema, Role: "tracing"} }

// SetNode implements node.Store, for collectors.
func (s *Store) SetNode(ctx context.Context, n node.Node) error {
	return s.fail(ctx, s.nodes().Set(ctx, n), "record that a collector lives")
}

// EndNode implements node.Store.
func (s *Store) EndNode(ctx context.Context, n node.Node) error {
	return s.fail(ctx, s.nodes().End(ctx, n), "record that a collector ends")
}

// Nodes returns the collectors that live.
func (s *Store) Nodes(ctx context.Context) ([]node.Node, error) {
	list, err := s.nodes().List(ctx)
	return list, s.fail(ctx, err, "list the collectors")
}

// Partitions returns what the tables of the schema take.
func (s *Store) Partitions(ctx context.Context) ([]node.Partition, error) {
	list, err := pg.Partitions(ctx, s.pool, Schema, func(from, to string) (time.Time, time.Time) {
		return partitionTime(from), partitionTime(to)
	})
	return list, s.fail(ctx, err, "list partitions")
}

// partitionTime reads microseconds; what it cannot read is zero.
func partitionTime(text string) time.Time {
	micros, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Queues returns the traces that links are yet to be made of. A trace that several
// batches brought something of counts once for each of them.
func (s *Store) Queues(ctx context.Context) ([]node.Queue, error) {
	q := node.Queue{Name: "traces to link", Unit: "traces"}
	var rows int64
	var oldest *time.Time
	err := s.pool.QueryRow(ctx, `SELECT count(*), coalesce(sum(cardinality(traces)), 0), min(seen)
		FROM (SELECT seen, traces FROM tracing.dirty ORDER BY id LIMIT $1) t`, maxDirtyRows).Scan(&rows, &q.Depth, &oldest)
	if err != nil {
		return nil, s.fail(ctx, err, "count the traces to link")
	}
	if oldest != nil {
		q.Oldest = oldest.UTC()
	}
	q.Detail = "links are made of a trace once it has been quiet for a while"
	if rows == maxDirtyRows {
		q.Detail = "or more: counting ends here"
	}
	return []node.Queue{q}, nil
}
