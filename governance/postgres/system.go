package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pg"
)

var _ node.Store = (*Store)(nil)

func (s *Store) nodes() pg.Nodes { return pg.Nodes{Pool: s.pool, Schema: Schema, Role: "control"} }

// SetNode implements node.Store, for control planes.
func (s *Store) SetNode(ctx context.Context, n node.Node) error {
	return fail(ctx, s.nodes().Set(ctx, n), "record that a control plane lives")
}

// EndNode implements node.Store.
func (s *Store) EndNode(ctx context.Context, n node.Node) error {
	return fail(ctx, s.nodes().End(ctx, n), "record that a control plane ends")
}

// Nodes returns the control planes that live.
func (s *Store) Nodes(ctx context.Context) ([]node.Node, error) {
	list, err := s.nodes().List(ctx)
	return list, fail(ctx, err, "list the control planes")
}

// Partitions returns what the tables of the schema take.
func (s *Store) Partitions(ctx context.Context) ([]node.Partition, error) {
	list, err := pg.Partitions(ctx, s.pool, Schema, func(from, to string) (time.Time, time.Time) {
		return partitionTime(from), partitionTime(to)
	})
	return list, fail(ctx, err, "list partitions")
}

// partitionTime reads a time as PostgreSQL writes it; what it cannot read is zero.
func partitionTime(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05-07", text)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// mostStaged is up to how many staged reports are counted.
const mostStaged = 200_000

// Queues returns the reports that wait to be folded.
func (s *Store) Queues(ctx context.Context) ([]node.Queue, error) {
	q := node.Queue{Name: "staged reports", Unit: "reports"}
	var oldest *int64
	err := s.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT FROM governance.staging LIMIT $1) t), (SELECT min(last) FROM governance.staging)`, mostStaged+1).
		Scan(&q.Depth, &oldest)
	if err != nil {
		return nil, fail(ctx, err, "count staged reports")
	}
	if oldest != nil {
		q.Oldest = time.Unix(*oldest, 0).UTC()
	}
	q.Detail = "of the minute that is not over yet, as long as it is well"
	if q.Depth > mostStaged {
		q.Depth, q.Detail = mostStaged, "or more: counting ends here"
	}
	return []node.Queue{q}, nil
}

// SDKs counts the instances that live by the version of their SDK.
func (s *Store) SDKs(ctx context.Context) ([]node.SDK, error) {
	rows, err := s.pool.Query(ctx, `SELECT app_namespace, sdk, count(*) FROM governance.instance
		WHERE left_at IS NULL AND seen > $1 GROUP BY app_namespace, sdk ORDER BY app_namespace, sdk LIMIT 10000`, s.now().Add(-governance.InstanceGone))
	if err != nil {
		return nil, fail(ctx, err, "count instances by their SDK")
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k node.SDK, err error) {
		return k, row.Scan(&k.Namespace, &k.Version, &k.Instances)
	})
	return list, fail(ctx, err, "count instances by their SDK")
}
