package postgres_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/testdb"
	"github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }

// open returns a store on a database of its own, with partitions.
func open(t testing.TB, c postgres.Config) *postgres.Store {
	t.Helper()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	s, err := postgres.Open(db.Pool(), c)
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
		s := open(t, postgres.Config{Lenient: o.Lenient, TagKeys: o.TagKeys, Linger: -1, Quiet: -1})
		return s, func() { linkAll(t, s) }
	})
}
