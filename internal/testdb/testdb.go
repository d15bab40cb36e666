//go:build unix

package testdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/pg"
)

// patience bounds every single step, so that a broken server fails a test
// rather than hanging it.
const patience = 2 * time.Minute

// DB is one test's database. It is dropped when the test ends.
type DB struct {
	// URL is its connection string.
	URL string
	// Name is the database's name.
	Name string

	tb   testing.TB
	once sync.Once
	pool *pgxpool.Pool
}

// Option prepares the databases New returns.
type Option func(*setup)

type migration struct {
	schema string
	fsys   fs.FS
}

type setup struct{ migrations []migration }

// Migrated applies a role's migrations, as [pg.Migrate] does.
func Migrated(schema string, fsys fs.FS) Option {
	return func(s *setup) { s.migrations = append(s.migrations, migration{schema, fsys}) }
}

// New returns a fresh database that no other test sees. The package's TestMain
// has to use [Main]. It may be called from parallel tests.
func New(tb testing.TB, opts ...Option) *DB {
	tb.Helper()
	var s setup
	for _, o := range opts {
		o(&s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := clusterFor(ctx)
	if err != nil {
		tb.Fatalf("testdb: %v", err)
	}
	template, err := c.template(ctx, s)
	if err != nil {
		tb.Fatalf("testdb: prepare a template: %v", err)
	}
	name, err := c.create(ctx, template)
	if err != nil {
		tb.Fatalf("testdb: create a database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.drop(ctx, name); err != nil {
			tb.Errorf("testdb: drop the database: %v", err)
		}
	})
	return &DB{URL: c.urlOf(name), Name: name, tb: tb}
}

// Pool returns a pool on the database, the same on every call, which is closed
// when the test ends. Connections still taken from it then fail the test's
// cleanup by never coming back; release them.
func (d *DB) Pool() *pgxpool.Pool {
	d.tb.Helper()
	d.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		pool, err := pg.Open(ctx, d.URL, pg.Options{Name: "weir test"})
		if err != nil {
			d.tb.Errorf("testdb: %v", err)
			return
		}
		d.pool = pool
		d.tb.Cleanup(pool.Close)
	})
	if d.pool == nil {
		d.tb.FailNow()
	}
	return d.pool
}

// cluster is the server of this process and what was made on it.
type cluster struct {
	base  *url.URL
	admin *pgxpool.Pool
	run   string // marks the databases of this process
	end   func() error

	mu        sync.Mutex
	count     int
	templates map[string]*template
}

type template struct {
	once sync.Once
	name string
	err  error
}

func (c *cluster) urlOf(database string) string {
	u := *c.base
	u.Path = "/" + database
	return u.String()
}

func (c *cluster) nextName() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	return fmt.Sprintf("%s%s_%d", namePrefix, c.run, c.count)
}

// create makes a database from a template, "" for an empty one.
func (c *cluster) create(ctx context.Context, from string) (string, error) {
	if from == "" {
		from = "template0"
	}
	name := c.nextName()
	_, err := c.admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{from}.Sanitize())
	return name, err
}

func (c *cluster) drop(ctx context.Context, name string) error {
	_, err := c.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
	return err
}

// template returns the database that holds the set of migrations, made once
// per process.
func (c *cluster) template(ctx context.Context, s setup) (string, error) {
	if len(s.migrations) == 0 {
		return "", nil
	}
	key, err := s.key()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	t := c.templates[key]
	if t == nil {
		t = &template{}
		c.templates[key] = t
	}
	c.mu.Unlock()
	t.once.Do(func() { t.name, t.err = c.migrate(ctx, s) })
	return t.name, t.err
}

func (c *cluster) migrate(ctx context.Context, s setup) (string, error) {
	name, err := c.create(ctx, "")
	if err != nil {
		return "", err
	}
	pool, err := pg.Open(ctx, c.urlOf(name), pg.Options{Name: "weir test template"})
	if err != nil {
		return "", err
	}
	defer pool.Close() // a template must not be in use when it is copied
	for _, m := range s.migrations {
		if err := pg.Migrate(ctx, pool, m.schema, m.fsys, nil); err != nil {
			return "", err
		}
	}
	return name, nil
}

// key identifies a set of migrations by content.
func (s setup) key() (string, error) {
	h := sha256.New()
	for _, m := range s.migrations {
		fmt.Fprintf(h, "schema %q\n", m.schema)
		err := fs.WalkDir(m.fsys, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			raw, err := fs.ReadFile(m.fsys, path)
			fmt.Fprintf(h, "file %q %q\n", path, raw)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
