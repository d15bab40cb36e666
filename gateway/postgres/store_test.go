package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/gateway/gatewaytest"
	"github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

func open(t *testing.T, o postgres.Options) (*postgres.Store, *pgxpool.Pool) {
	t.Helper()
	pool := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool()
	s := postgres.New(pool, o)
	t.Cleanup(s.Close)
	return s, pool
}

func TestStore(t *testing.T) {
	t.Parallel()
	gatewaytest.Run(t, func(t *testing.T, set gatewaytest.Settings) gatewaytest.Subject {
		t.Helper()
		// Pages so small that every read takes several.
		s, pool := open(t, postgres.Options{Horizon: set.Horizon, Poll: set.Poll, Page: 2})
		return gatewaytest.Subject{Store: s, Age: func(t *testing.T, node string, by time.Duration) {
			t.Helper()
			if _, err := pool.Exec(t.Context(), "UPDATE gateway.node SET seen = seen - $2::interval WHERE name = $1", node, by); err != nil {
				t.Fatal(err)
			}
		}}
	})
}
