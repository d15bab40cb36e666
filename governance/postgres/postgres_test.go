package postgres_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

func open(t *testing.T, clock *governancetest.Clock) *postgres.Store {
	t.Helper()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	return postgres.New(db.Pool(), postgres.Options{Now: clock.Now, Poll: 50 * time.Millisecond})
}

func TestStore(t *testing.T) {
	t.Parallel()
	governancetest.Run(t, func(t *testing.T, clock *governancetest.Clock) governancetest.Subject {
		t.Helper()
		s := open(t, clock)
		return governancetest.Subject{Store: s, Settle: s.Fold}
	})
}
