package postgres

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/gateway"
)

// Channels of notifications. They wake; the tables tell.
const (
	routesChannel = "weir_gateway_routes" // payload: the revision
	nodesChannel  = "weir_gateway_nodes"  // payload: the node's name
)

// Watch implements gateway.Source.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	sub := s.subscribe(ctx, routesChannel)
	defer sub.Close()
	for {
		// At first without waiting for the listener: the database may be away, and
		// who watches may have another source.
		changed()
		if err := pause(ctx, sub.C(), jitter(s.opts.Poll)); err != nil {
			return err
		}
	}
}

// pause returns nil once woken or once the time is over, and the cause of ctx's
// end.
func pause[T any](ctx context.Context, wake <-chan T, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-wake:
	case <-t.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// SetNode implements gateway.Source.
func (s *Store) SetNode(ctx context.Context, n gateway.Node) error {
	if n.Name == "" || len(n.Name) > gateway.MaxNameLength {
		return &gateway.Error{Code: gateway.Invalid, Field: "name", Message: "is missing or too long"}
	}
	quarantined := n.Quarantined
	if quarantined == nil {
		quarantined = []gateway.Quarantine{}
	}
	raw, err := json.Marshal(quarantined)
	if err != nil {
		return fail(err, "record what a gateway serves")
	}
	// Those who wait are woken by what changed, not by every sign of life.
	_, err = s.pool.Exec(ctx, `
		WITH old AS (
			SELECT revision, checksum, quarantined::text FROM gateway.node WHERE name = $1
		), written AS (
			INSERT INTO gateway.node (name, revision, checksum, version, quarantined, seen)
			VALUES ($1, $2, $3, $4, $5::json, clock_timestamp())
			ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, checksum = excluded.checksum,
				version = excluded.version, quarantined = excluded.quarantined, seen = excluded.seen
		), forgotten AS (
			DELETE FROM gateway.node WHERE name <> $1 AND seen < clock_timestamp() - $6::interval
		)
		SELECT pg_notify($7, $1) WHERE NOT EXISTS (
			SELECT FROM old WHERE (revision, checksum, quarantined) = ($2, $3, $5::text))`,
		n.Name, n.Revision, n.Checksum, n.Version, string(raw), nodeForgotten, nodesChannel)
	return fail(err, "record what a gateway serves")
}

// mostNodes bounds a list of nodes.
const mostNodes = 10_000

// Nodes implements gateway.Store.
func (s *Store) Nodes(ctx context.Context) ([]gateway.Node, error) {
	rows, err := s.pool.Query(ctx, `SELECT name, revision, checksum, version, quarantined, seen FROM gateway.node
		WHERE seen > clock_timestamp() - $1::interval ORDER BY name LIMIT $2`, gateway.NodeGone, mostNodes)
	if err != nil {
		return nil, fail(err, "list the gateways")
	}
	nodes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n gateway.Node, err error) {
		var quarantined string
		if err := row.Scan(&n.Name, &n.Revision, &n.Checksum, &n.Version, &quarantined, &n.Seen); err != nil {
			return n, err
		}
		n.Seen = n.Seen.UTC()
		// A newer gateway may say more of it: what is known here is enough.
		return n, json.Unmarshal([]byte(quarantined), &n.Quarantined)
	})
	return nodes, fail(err, "list the gateways")
}

// WaitApplied implements gateway.Store.
func (s *Store) WaitApplied(ctx context.Context, rev gateway.Revision) ([]gateway.Node, error) {
	sub := s.subscribe(ctx, nodesChannel)
	defer sub.Close()
	var last []gateway.Node
	for {
		nodes, err := s.Nodes(ctx)
		switch {
		case ctx.Err() != nil && last != nil:
			return last, nil
		case ctx.Err() != nil:
			// Not once was there time to ask: it is still not known, not empty.
			patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return s.Nodes(patient)
		case err != nil:
			return nil, err
		}
		if gateway.AllServe(nodes, rev) {
			return nodes, nil
		}
		last = nodes
		// The pause is also when gateways that have gone silent stop to count.
		if pause(ctx, sub.C(), jitter(s.opts.Poll)) != nil {
			return last, nil
		}
	}
}
