package postgres_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/gatewaytest"
	"github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testdb"
)

// follower keeps a reader's copy of the table, as a gateway does, and tells of
// every revision it reaches.
type follower struct {
	mu      sync.Mutex
	state   gateway.State
	failed  int
	reached chan gateway.Revision
}

func follow(t *testing.T, s gateway.Source) *follower {
	t.Helper()
	f := &follower{reached: make(chan gateway.Revision, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Watch(ctx, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			d, err := s.Since(ctx, f.state.Revision)
			if err != nil {
				f.failed++
				return
			}
			if !f.state.Apply(d) {
				t.Errorf("the copy is not the store's table at %d", d.Revision)
			}
			f.reached <- f.state.Revision
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *follower) await(t *testing.T, rev gateway.Revision) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case got := <-f.reached:
			if got == rev {
				return
			}
		case <-deadline:
			t.Fatalf("revision %d was not reached", rev)
		}
	}
}

func (f *follower) failures() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func write(t *testing.T, s gateway.Store, mark string) gateway.Revision {
	t.Helper()
	rev, err := s.Apply(t.Context(), []gateway.Write{gatewaytest.Put("n", "a", mark)}, gatewaytest.Because("test"))
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestFollowsAfterTheNotificationConnectionIsCut(t *testing.T) {
	t.Parallel()
	s, pool := open(t, postgres.Options{Poll: time.Hour}) // nothing but notifications
	f := follow(t, s)
	f.await(t, write(t, s, "first"))
	for _, mark := range []string{"second", "third"} {
		// It may still be on its way when the first looks have found everything.
		for cut := 0; cut == 0; {
			err := pool.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE application_name = 'weir gateway listen' AND datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&cut)
			if err != nil {
				t.Fatal(err)
			}
		}
		// Nobody may be listening now: the return of the connection has to wake.
		f.await(t, write(t, s, mark))
	}
}

func TestFollowsWithoutAnyNotification(t *testing.T) {
	t.Parallel()
	s, pool := open(t, postgres.Options{Poll: 20 * time.Millisecond})
	// As behind a pooler that swallows LISTEN.
	s.Close()
	f := follow(t, s)
	f.await(t, 0)
	f.await(t, write(t, s, "first"))
	f.await(t, write(t, s, "second"))
	var listening int
	err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'weir gateway listen' AND datname = current_database()`).Scan(&listening)
	if err != nil || listening != 0 {
		t.Errorf("%d listen, %v: the test tests nothing", listening, err)
	}
}

func startServer(t *testing.T, dir string, port int) *pg.Server {
	t.Helper()
	s, err := pg.StartServer(t.Context(), pg.ServerConfig{Dir: dir, Port: port, Settings: map[string]string{"fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func TestFollowsThroughARestartOfTheDatabase(t *testing.T) {
	t.Parallel()
	dir := testdb.Dir(t)
	server := startServer(t, dir, 0)
	pool, err := pg.Open(t.Context(), server.URL(), pg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pg.Migrate(t.Context(), pool, postgres.Schema, postgres.Migrations(), nil); err != nil {
		t.Fatal(err)
	}
	s := postgres.New(pool, postgres.Options{Poll: 50 * time.Millisecond})
	t.Cleanup(s.Close)
	f := follow(t, s)
	f.await(t, write(t, s, "before"))

	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-server.Done()
	_, err = s.Apply(t.Context(), []gateway.Write{gatewaytest.Put("n", "a", "away")}, gatewaytest.Because("x"))
	if gateway.CodeOf(err) != gateway.Unavailable {
		t.Errorf("a write without a database: %v", err)
	}
	if _, err := s.Since(t.Context(), 0); gateway.CodeOf(err) != gateway.Unavailable {
		t.Errorf("a read without a database: %v", err)
	}
	if _, err := s.Nodes(t.Context()); gateway.CodeOf(err) != gateway.Unavailable {
		t.Errorf("nodes without a database: %v", err)
	}
	if f.failures() == 0 {
		t.Log("the follower did not notice, which is well too")
	}
	_ = server.Close(t.Context())
	startServer(t, dir, server.Port())

	// The write that failed left nothing; what was there is there.
	v, err := s.Get(t.Context(), gateway.Key{Namespace: "n", Name: "a"})
	if err != nil || !gateway.Equal(v.Route, gatewaytest.Route("n", "a", "before")) {
		t.Fatalf("got %+v, %v", v, err)
	}
	f.await(t, write(t, s, "after"))
}

// TestADocumentOfANewerProgramIsSetAside: one route that this program does not
// understand neither hides the others nor is it served without what it does not
// understand.
func TestADocumentOfANewerProgramIsSetAside(t *testing.T) {
	t.Parallel()
	s, pool := open(t, postgres.Options{})
	for _, name := range []string{"a", "b"} {
		if _, err := s.Apply(t.Context(), []gateway.Write{gatewaytest.Put("n", name, "1")}, gatewaytest.Because("x")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := pool.Exec(t.Context(), `UPDATE gateway.route
		SET document = jsonb_set(document::jsonb, '{filters,0}', '{"onlyFriends": true}')::json WHERE name = 'b'`)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Since(t.Context(), 0)
	if err != nil || len(d.Routes) != 2 {
		t.Fatalf("%d routes, %v", len(d.Routes), err)
	}
	if a := d.Routes[0]; a.Unreadable != "" || !gateway.Equal(a.Route, gatewaytest.Route("n", "a", "1")) {
		t.Errorf("got %+v", a)
	}
	b := d.Routes[1]
	if !strings.Contains(b.Unreadable, "filters[0].onlyFriends") || b.Route.Key() != (gateway.Key{Namespace: "n", Name: "b"}) || b.Route.Validate() == nil {
		t.Errorf("got %+v, which could be served", b)
	}
	var state gateway.State
	if !state.Apply(d) {
		t.Error("the checksum depends on who reads")
	}
	// It can be replaced and deleted.
	if _, err := s.Apply(t.Context(), []gateway.Write{gatewaytest.Put("n", "b", "2")}, gatewaytest.Because("mend")); err != nil {
		t.Error(err)
	}
}

func TestTheRecordOfChangesCannotBeRewritten(t *testing.T) {
	t.Parallel()
	s, pool := open(t, postgres.Options{})
	write(t, s, "1")
	for _, sql := range []string{"UPDATE gateway.change SET reason = 'other'", "DELETE FROM gateway.change"} {
		if _, err := pool.Exec(t.Context(), sql); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestWritersOfSeveralProcesses: two stores on pools of their own, as two
// replicas of the control plane have them, and a third that only reads.
func TestWritersOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	var stores []*postgres.Store
	for range 3 {
		pool, err := pg.Open(t.Context(), db.URL, pg.Options{MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		s := postgres.New(pool, postgres.Options{Poll: time.Hour})
		t.Cleanup(s.Close)
		stores = append(stores, s)
	}
	f := follow(t, stores[2])
	const each = 60
	var wg sync.WaitGroup
	for w, s := range stores[:2] {
		wg.Go(func() {
			for i := range each {
				name := string(rune('a' + (i*7+w)%5))
				writes := []gateway.Write{gatewaytest.Put("n", name, string(rune('0'+w))+string(rune('A'+i)))}
				_, err := s.Apply(t.Context(), writes, gatewaytest.Because("load"))
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	f.await(t, 2*each)
}

func TestAWriteThatIsGivenUpChangesNothing(t *testing.T) {
	t.Parallel()
	s, pool := open(t, postgres.Options{})
	write(t, s, "1")
	held := hold(t, pool)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Apply(ctx, []gateway.Write{gatewaytest.Put("n", "a", "2")}, gatewaytest.Because("x"))
		done <- err
	}()
	awaitLockWait(t, pool)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || gateway.CodeOf(err) != gateway.Unavailable {
		t.Errorf("got %v", err)
	}
	held()
	if rev := write(t, s, "3"); rev != 2 {
		t.Errorf("the next revision is %d", rev)
	}
}

// hold takes the counter until the function it returns is called.
func hold(t *testing.T, pool *pgxpool.Pool) (release func()) {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM gateway.state FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
}

func awaitLockWait(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for t.Context().Err() == nil {
		var waiting int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
		if waiting > 0 {
			return
		}
	}
}
