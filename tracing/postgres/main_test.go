package postgres_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

func TestMain(m *testing.M) {
	if cfg := os.Getenv(childEnv); cfg != "" {
		os.Exit(child(cfg))
	}
	goleak.VerifyTestMain(testdb.Main(m))
}

// database returns a fresh migrated one.
func database(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations())).Pool()
}

// open returns a store with partitions.
func open(t testing.TB, pool *pgxpool.Pool, c postgres.Config) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(pool, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return s
}

// linkAll links whatever is not linked.
func linkAll(t testing.TB, s *postgres.Store) {
	t.Helper()
	for {
		more, err := s.LinkDue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

func TestConformance(t *testing.T) {
	tracingtest.Exercise(t, func(t *testing.T, o tracingtest.Options) (tracingtest.Store, func()) {
		s := open(t, database(t), postgres.Config{Lenient: o.Lenient, TagKeys: o.TagKeys, Linger: -1, Quiet: -1})
		return s, func() { linkAll(t, s) }
	})
}
