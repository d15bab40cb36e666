package role

import (
	"context"
	"io/fs"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	governancepg "github.com/weirmesh/weir/governance/postgres"
	accesspg "github.com/weirmesh/weir/internal/access/postgres"
	"github.com/weirmesh/weir/internal/pg"
	tracingpg "github.com/weirmesh/weir/tracing/postgres"
)

// schemas are those that the control plane brings up to date: its own, the
// gateways', which only read and may come and go, and the collectors', who do so
// themselves where there is no control plane.
var schemas = []struct {
	name       string
	migrations func() fs.FS
}{
	{accesspg.Schema, accesspg.Migrations},
	{gatewaypg.Schema, gatewaypg.Migrations},
	{governancepg.Schema, governancepg.Migrations},
	{tracingpg.Schema, tracingpg.Migrations},
}

// Migrate brings the database up to date.
func Migrate(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	for _, s := range schemas {
		if err := pg.Migrate(ctx, pool, s.name, s.migrations(), log); err != nil {
			return err
		}
	}
	return nil
}
