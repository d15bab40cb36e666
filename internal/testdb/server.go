//go:build unix

package testdb

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/internal/pg"
)

const (
	envURL     = "WEIR_TEST_DATABASE_URL"
	namePrefix = "weir_test_"
)

// private starts this process's own server.
func (p *state) private(ctx context.Context) (*cluster, error) {
	h, err := p.homeFor(ctx)
	if err != nil {
		return nil, err
	}
	var server *pg.Server
	for range 5 {
		var port int
		// Not the server's own choice, which begins where a developer's
		// `weir up` expects to find a port free.
		if port, err = freePort(); err != nil {
			return nil, err
		}
		server, err = pg.StartServer(ctx, pg.ServerConfig{
			Dir: filepath.Join(h.dir, "server"), Port: port, NoFsync: true,
			Settings: map[string]string{"autovacuum_naptime": "1h"}, // short-lived data needs none
		})
		if !errors.Is(err, pg.ErrPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("start a server for the tests (or set %s to use one of yours): %w", envURL, err)
	}
	c, err := newCluster(ctx, server.URL())
	if err == nil {
		err = grantCreate(ctx, server.SuperuserURL(), c.admin.Config().ConnConfig.User)
	}
	if err != nil {
		return nil, errors.Join(err, server.Close(context.WithoutCancel(ctx)))
	}
	c.end = func() error {
		c.admin.Close()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return server.Close(ctx)
	}
	return c, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	addr, err := netip.ParseAddrPort(l.Addr().String())
	return int(addr.Port()), errors.Join(err, l.Close())
}

func grantCreate(ctx context.Context, superuserURL, role string) error {
	conn, err := pgx.Connect(ctx, superuserURL)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "ALTER ROLE "+pgx.Identifier{role}.Sanitize()+" CREATEDB")
	return errors.Join(err, conn.Close(ctx))
}

func newCluster(ctx context.Context, rawURL string) (*cluster, error) {
	base, err := url.Parse(rawURL)
	if err != nil || !strings.HasPrefix(base.Scheme, "postgres") {
		return nil, fmt.Errorf("%s must be a URL: postgres://user:password@host:5432/database", envURL)
	}
	admin, err := pg.Open(ctx, rawURL, pg.Options{Name: "weir test admin", MaxConns: 4, StatementTimeout: patience, RetryFor: 3 * time.Second})
	if err != nil {
		return nil, err
	}
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	return &cluster{base: base, admin: admin, run: hex.EncodeToString(id[:]), templates: map[string]*template{}}, nil
}

// external uses the server that the environment names. An advisory lock, held
// for as long as this process lives, marks its databases as in use; databases
// whose lock is free are from a killed run and dropped.
func external(ctx context.Context, rawURL string) (*cluster, error) {
	c, err := newCluster(ctx, rawURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envURL, err)
	}
	holder, err := pgx.ConnectConfig(ctx, c.admin.Config().ConnConfig)
	if err == nil {
		_, err = holder.Exec(ctx, "SELECT pg_advisory_lock($1, $2)", lockClass, runLock(c.run))
	}
	if err == nil {
		err = c.sweep(ctx)
	}
	if err != nil {
		if holder != nil {
			err = errors.Join(err, holder.Close(ctx))
		}
		c.admin.Close()
		return nil, fmt.Errorf("%s: %w", envURL, err)
	}
	c.end = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := c.dropRun(ctx, c.run)
		c.admin.Close()
		return errors.Join(err, holder.Close(ctx))
	}
	return c, nil
}

// lockClass keeps the locks of test runs apart from others.
const lockClass int32 = 0x77656972

func runLock(run string) int32 {
	raw, err := hex.DecodeString(run)
	if err != nil || len(raw) != 4 {
		return 0
	}
	return int32(binary.BigEndian.Uint32(raw))
}

// sweep drops the databases of runs that have ended without doing so.
func (c *cluster) sweep(ctx context.Context) error {
	conn, err := c.admin.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	rows, err := conn.Query(ctx, `SELECT DISTINCT split_part(datname, '_', 3) FROM pg_database WHERE datname ~ '^weir_test_[0-9a-f]{8}_[0-9]+$'`)
	if err != nil {
		return err
	}
	runs, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, run := range runs {
		var dead bool
		if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, $2)", lockClass, runLock(run)).Scan(&dead); err != nil {
			return err
		}
		if !dead {
			continue
		}
		err := c.dropRun(ctx, run)
		if _, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1, $2)", lockClass, runLock(run)); err != nil || unlockErr != nil {
			return errors.Join(err, unlockErr)
		}
	}
	return nil
}

// dropRun drops every database of one run.
func (c *cluster) dropRun(ctx context.Context, run string) error {
	rows, err := c.admin.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", namePrefix+run+"_")
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.drop(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
