package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Collect says that a process collects from pods that have no code of ours, takes
// those away of which nothing was heard for gone, and returns all that are left.
// Times are the database's.
func (s *Store) Collect(ctx context.Context, id string, gone time.Duration) ([]string, error) {
	rows, err := s.pool.Query(ctx, `WITH late AS (
			DELETE FROM governance.collector WHERE id IN (
				SELECT id FROM governance.collector WHERE id <> $1 AND seen < clock_timestamp() - $2::interval FOR UPDATE SKIP LOCKED)),
		said AS (
			INSERT INTO governance.collector VALUES ($1, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET seen = excluded.seen RETURNING id)
		SELECT id FROM governance.collector WHERE seen >= clock_timestamp() - $2::interval UNION SELECT id FROM said ORDER BY id`, id, gone)
	if err != nil {
		return nil, fail(ctx, err, "say that this process collects")
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return ids, fail(ctx, err, "say that this process collects")
}

// EndCollect takes back what Collect said.
func (s *Store) EndCollect(ctx context.Context, id string) error {
	_, err := s.pool.Exec(ctx, "DELETE FROM governance.collector WHERE id = $1", id)
	return fail(ctx, err, "say that this process collects no more")
}
