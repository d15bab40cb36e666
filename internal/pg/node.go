package pg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/internal/node"
)

// Nodes keeps the word of the nodes of one role in the table "node" of its
// schema, which the schema's migrations make:
//
//	name    text COLLATE "C" PRIMARY KEY
//	version text        NOT NULL
//	started timestamptz NOT NULL
//	seen    timestamptz NOT NULL
//	facts   json        NOT NULL
type Nodes struct {
	Pool   *pgxpool.Pool
	Schema string
	Role   string // that the schema belongs to
}

// mostNodes bounds a list.
const mostNodes = 10_000

// Set records a node's word, as node.Store has it.
func (t Nodes) Set(ctx context.Context, n node.Node) error {
	facts, err := json.Marshal(n.Facts)
	if err != nil {
		return fmt.Errorf("encode what a node says: %w", err)
	}
	_, err = t.Pool.Exec(ctx, `WITH forgotten AS (
			DELETE FROM `+t.Schema+`.node WHERE name <> $1 AND seen < clock_timestamp() - $5::interval
		)
		INSERT INTO `+t.Schema+`.node (name, version, started, seen, facts) VALUES ($1, $2, $3, clock_timestamp(), $4::json)
		ON CONFLICT (name) DO UPDATE SET version = excluded.version, started = excluded.started, seen = excluded.seen, facts = excluded.facts`,
		n.Name, n.Version, n.Started.UTC().Truncate(time.Microsecond), string(facts), node.Forgotten)
	return err
}

// End takes the word of a node back, as node.Store has it.
func (t Nodes) End(ctx context.Context, n node.Node) error {
	_, err := t.Pool.Exec(ctx, `DELETE FROM `+t.Schema+`.node WHERE name = $1 AND started = $2`, n.Name, n.Started.UTC().Truncate(time.Microsecond))
	return err
}

// List returns the nodes that count, by name.
func (t Nodes) List(ctx context.Context) ([]node.Node, error) {
	rows, err := t.Pool.Query(ctx, `SELECT name, version, started, seen, facts::text FROM `+t.Schema+`.node
		WHERE seen > clock_timestamp() - $1::interval ORDER BY name LIMIT $2`, node.Gone, mostNodes)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (node.Node, error) {
		n := node.Node{Role: t.Role}
		var facts string
		err := row.Scan(&n.Name, &n.Version, &n.Started, &n.Seen, &facts)
		n.Started, n.Seen = n.Started.UTC(), n.Seen.UTC()
		// One of another version may say it in another way: that it lives is enough.
		if json.Unmarshal([]byte(facts), &n.Facts) != nil {
			n.Facts = node.Facts{}
		}
		return n, err
	})
}

// mostPartitions bounds a list.
const mostPartitions = 2000

var partitionBound = regexp.MustCompile(`^FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)$`)

// Partitions lists the tables of a schema and the parts of those that have any,
// by table and name, with what each takes. bounds reads what a part is for from
// the two ends of its range, as the database writes them.
func Partitions(ctx context.Context, pool *pgxpool.Pool, schema string, bounds func(from, to string) (time.Time, time.Time)) ([]node.Partition, error) {
	// A table that was never looked over has no estimate, but counters.
	rows, err := pool.Query(ctx, `SELECT * FROM (
			SELECT coalesce(p.relname, c.relname)::text AS part_of, c.relname::text AS name, coalesce(pg_get_expr(c.relpartbound, c.oid), ''),
				pg_total_relation_size(c.oid) AS bytes,
				CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint ELSE coalesce(pg_stat_get_live_tuples(c.oid), 0) END
			FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
			WHERE c.relnamespace = to_regnamespace($1) AND c.relkind = 'r' AND c.relname <> $2
		) t WHERE bytes IS NOT NULL ORDER BY part_of, name LIMIT $3`, schema, versionTable, mostPartitions)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (node.Partition, error) {
		p := node.Partition{Schema: schema}
		var bound string
		err := row.Scan(&p.Table, &p.Name, &bound, &p.Bytes, &p.Rows)
		if m := partitionBound.FindStringSubmatch(bound); m != nil {
			p.From, p.To = bounds(m[1], m[2])
		}
		return p, err
	})
}

// About returns what a pool's database says of itself. Its errors are sentences
// for the user, as those of Open.
func About(ctx context.Context, pool *pgxpool.Pool) (node.Database, error) {
	var d node.Database
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version'), pg_database_size(current_database()),
		coalesce((SELECT numbackends FROM pg_stat_database WHERE datname = current_database()), 0), current_setting('max_connections')::int`).
		Scan(&d.Version, &d.Bytes, &d.Connections, &d.MaxConnections)
	if err == nil {
		return d, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if s := pool.Stat(); s.AcquiredConns() >= s.MaxConns() {
			return d, say(ErrUnreachable, err, fmt.Sprintf("postgres: all %d connections of this process are at work: allow it more with pool_max_conns in %s", s.MaxConns(), urlFlag))
		}
	}
	return d, describe(err, pool.Config().ConnConfig)
}
