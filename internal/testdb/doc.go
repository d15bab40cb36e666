// Package testdb gives each test a PostgreSQL database of its own on a real
// server that the tests start themselves. It never skips: without PostgreSQL
// programs a test fails and says what to install.
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		db := testdb.New(t, testdb.Migrated("gateway", migrations))
//		store := postgres.NewStore(db.Pool())
//
// A database, not a schema, per test: the schemas are named after Weir's roles
// (gateway, governance, tracing), in migrations and queries alike, and NOTIFY
// and advisory locks reach across the schemas of a database. Migrations run
// once per set, into a template; a test gets a copy of it in some 30 ms.
//
// A server per test process, not one shared by the packages of a run: starting
// one takes about a second, and it needs no protocol between processes to know
// who is the last. The server ends with its process, kill -9 included, and what
// a killed run leaves on disk the next one sweeps away.
//
// WEIR_TEST_DATABASE_URL names a server to use instead; its user needs the
// right to create databases.
package testdb
