package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/gateway"
)

// Recent returns what was written last, the newest first: of each route its newest
// version alone, deletions included.
func (s *Store) Recent(ctx context.Context, limit int) ([]gateway.Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+columns+` FROM gateway.route
		ORDER BY revision DESC, namespace DESC, name DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fail(err, "read what was written last")
	}
	out, err := pgx.CollectRows(rows, scan)
	return out, fail(err, "read what was written last")
}
