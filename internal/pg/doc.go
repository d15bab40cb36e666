// Package pg is what every PostgreSQL adapter of Weir stands on: a private
// server for machines without one ([StartServer]), a connection pool whose
// errors a user can act on ([Open]), migrations that many processes may start
// at once ([Migrate]), and a wake-up channel over LISTEN that says when it may
// have missed something ([Listener]).
//
// Errors meant for the user are whole sentences that name the flag that helps
// (--database-url, --postgres-port, --data-dir). They match the Err… values of
// this package under [errors.Is]. No error or log record holds a password.
package pg
