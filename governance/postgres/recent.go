package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
)

// Recent returns the versions that were written last, of all policies and
// switches, the newest first.
func (s *Store) Recent(ctx context.Context, limit int) ([]governance.Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+versionColumns+` FROM governance.policy_version v ORDER BY version DESC LIMIT $1`, limit)
	if err != nil {
		return nil, fail(ctx, err, "read what was written last")
	}
	out, err := pgx.CollectRows(rows, scanVersion)
	return out, fail(ctx, err, "read what was written last")
}
