package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pg"
)

// policyChannel carries the version of the whole, and nothing else.
const policyChannel = "weir_governance_policy"

const versionColumns = "v.version, v.document, v.created, v.actor, v.reason, v.deleted"

func scanVersion(row pgx.CollectableRow) (governance.Version, error) {
	var v governance.Version
	var document []byte
	if err := row.Scan(&v.Version, &document, &v.Created, &v.Actor, &v.Reason, &v.Deleted); err != nil {
		return v, err
	}
	v.Created = v.Created.UTC()
	if err := json.Unmarshal(document, &v.Policy); err != nil {
		return v, fmt.Errorf("read the document of version %d: %w", v.Version, err)
	}
	return v, nil
}

// Put implements governance.PolicyStore.
func (s *Store) Put(ctx context.Context, p governance.Policy, expect int64, c governance.Change) (governance.Version, error) {
	if err := c.Validate(); err != nil {
		return governance.Version{}, err
	}
	p, err := p.Canonical()
	if err != nil {
		return governance.Version{}, err
	}
	var out governance.Version
	err = s.tx(ctx, func(tx pgx.Tx) error {
		version, head, err := s.nextVersion(ctx, tx, p.Key())
		if err != nil {
			return err
		}
		if err := governance.CheckExpected(p.Key(), head, expect); err != nil {
			return err
		}
		out = governance.Version{Policy: p, Version: version, Created: s.now(), Actor: c.Actor, Reason: c.Reason}
		return s.writeVersion(ctx, tx, out, head)
	})
	if err != nil {
		return governance.Version{}, fail(ctx, err, "write policy "+p.Key().String())
	}
	return out, nil
}

// Delete implements governance.PolicyStore.
func (s *Store) Delete(ctx context.Context, key governance.Key, expect int64, c governance.Change) (governance.Version, error) {
	if err := c.Validate(); err != nil {
		return governance.Version{}, err
	}
	var out governance.Version
	err := s.tx(ctx, func(tx pgx.Tx) error {
		version, head, err := s.nextVersion(ctx, tx, key)
		if err != nil {
			return err
		}
		if head == nil || head.Deleted {
			return governance.NoPolicy(key)
		}
		if err := governance.CheckExpected(key, head, expect); err != nil {
			return err
		}
		out = governance.Version{Policy: head.Policy, Version: version, Created: s.now(), Actor: c.Actor, Reason: c.Reason, Deleted: true}
		return s.writeVersion(ctx, tx, out, head)
	})
	if err != nil {
		return governance.Version{}, fail(ctx, err, "delete policy "+key.String())
	}
	return out, nil
}

// nextVersion takes the next version, which makes all other writers wait, and
// reads the newest version of one policy, nil for none.
func (s *Store) nextVersion(ctx context.Context, tx pgx.Tx, key governance.Key) (int64, *governance.Version, error) {
	var version int64
	if err := tx.QueryRow(ctx, "UPDATE governance.counter SET version = version + 1 RETURNING version").Scan(&version); err != nil {
		return 0, nil, err
	}
	head, err := s.head(ctx, tx, key)
	return version, head, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func (s *Store) head(ctx context.Context, q querier, key governance.Key) (*governance.Version, error) {
	rows, err := q.Query(ctx, `SELECT `+versionColumns+`
		FROM governance.policy p JOIN governance.policy_version v USING (version)
		WHERE p.namespace = $1 AND p.name = $2`, key.Namespace, key.Name)
	if err != nil {
		return nil, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanVersion)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no version yet is an ordinary answer here
	}
	return &v, err
}

func (s *Store) writeVersion(ctx context.Context, tx pgx.Tx, v governance.Version, head *governance.Version) error {
	document, err := json.Marshal(v.Policy)
	if err != nil {
		return err
	}
	var before *int64
	if head != nil {
		before = &head.Version
	}
	var expires *time.Time
	if !v.Policy.Expires.IsZero() {
		expires = &v.Policy.Expires
	}
	p, kind := v.Policy, governance.EventPublished
	if v.Deleted {
		kind = governance.EventDeleted
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO governance.policy_version
		(version, namespace, name, before, kind, app_namespace, app_name, expires, deleted, created, actor, reason, document)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		v.Version, p.Namespace, p.Name, before, string(p.Kind), p.Target.App.Namespace, p.Target.App.Name,
		expires, v.Deleted, v.Created, v.Actor, v.Reason, document)
	b.Queue(`INSERT INTO governance.policy (namespace, name, version) VALUES ($1, $2, $3)
		ON CONFLICT (namespace, name) DO UPDATE SET version = excluded.version`, p.Namespace, p.Name, v.Version)
	queueEvents(b, governance.Event{
		Time: v.Created, Kind: kind, App: p.Target.App, Command: p.Target.Command,
		Policy: p.Key().String(), Version: v.Version, Actor: v.Actor, Reason: v.Reason,
	})
	b.Queue("SELECT pg_notify($1, $2)", policyChannel, strconv.FormatInt(v.Version, 10))
	return tx.SendBatch(ctx, b).Close()
}

// Get implements governance.PolicyStore.
func (s *Store) Get(ctx context.Context, key governance.Key) (governance.Version, error) {
	v, err := s.head(ctx, s.pool, key)
	if err != nil {
		return governance.Version{}, fail(ctx, err, "read policy "+key.String())
	}
	if v == nil || v.Deleted {
		return governance.Version{}, governance.NoPolicy(key)
	}
	return *v, nil
}

// List implements governance.PolicyStore.
func (s *Store) List(ctx context.Context, q governance.PolicyQuery) ([]governance.Version, int64, error) {
	out, version, err := s.heads(ctx, `
		WHERE NOT v.deleted
			AND ($1 = '' OR v.namespace = $1)
			AND ($2 = '' OR (v.app_namespace = $2 AND v.app_name = $3))
			AND ($4 = '' OR v.kind = $4)
			AND ($5 OR v.expires IS NULL OR v.expires > $6)
		ORDER BY v.namespace COLLATE "C", v.name COLLATE "C" LIMIT $7`,
		q.Namespace, q.App.Namespace, q.App.Name, string(q.Kind), q.Expired, s.now(), maxPolicies)
	return out, version, fail(ctx, err, "list policies")
}

// Bounds of one answer.
const (
	maxPolicies = 10_000
	sincePage   = 5_000
)

// Since implements governance.PolicyStore.
func (s *Store) Since(ctx context.Context, version int64) ([]governance.Version, int64, error) {
	out, now, err := s.heads(ctx, "WHERE p.version > $1 ORDER BY p.version LIMIT $2", version, sincePage)
	if len(out) == sincePage {
		now = out[sincePage-1].Version // up to here it is everything
	}
	return out, now, fail(ctx, err, "read policies")
}

// heads reads newest versions and the version of the whole at one moment.
func (s *Store) heads(ctx context.Context, where string, args ...any) (out []governance.Version, version int64, err error) {
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT version FROM governance.counter").Scan(&version); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT "+versionColumns+" FROM governance.policy p JOIN governance.policy_version v USING (version) "+where, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanVersion)
		return err
	})
	return out, version, err
}

// maxVersions is how many versions of one policy are listed at most.
const maxVersions = 1000

// Versions implements governance.PolicyStore.
func (s *Store) Versions(ctx context.Context, key governance.Key, limit int) ([]governance.Version, error) {
	if limit <= 0 || limit > maxVersions {
		limit = maxVersions
	}
	rows, err := s.pool.Query(ctx, `SELECT `+versionColumns+` FROM governance.policy_version v
		WHERE namespace = $1 AND name = $2 ORDER BY version DESC LIMIT $3`, key.Namespace, key.Name, limit)
	if err != nil {
		return nil, fail(ctx, err, "read the versions of policy "+key.String())
	}
	out, err := pgx.CollectRows(rows, scanVersion)
	if err == nil && len(out) == 0 {
		err = governance.NoPolicy(key)
	}
	return out, fail(ctx, err, "read the versions of policy "+key.String())
}

// Version implements governance.PolicyStore.
func (s *Store) Version(ctx context.Context, key governance.Key, version int64) (governance.Version, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+versionColumns+` FROM governance.policy_version v
		WHERE namespace = $1 AND name = $2 AND version = $3`, key.Namespace, key.Name, version)
	if err != nil {
		return governance.Version{}, fail(ctx, err, "read a version of policy "+key.String())
	}
	v, err := pgx.CollectOneRow(rows, scanVersion)
	if errors.Is(err, pgx.ErrNoRows) {
		return v, governance.NoVersion(key, version)
	}
	return v, fail(ctx, err, "read a version of policy "+key.String())
}

// pollPatience bounds one look at the counter.
const pollPatience = 10 * time.Second

// Watch implements governance.PolicyStore. A notification is a hint; the counter,
// looked at every Poll, is what is trusted.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	last := int64(-1)
	return s.watch(ctx, policyChannel, func(w pg.Wake) {
		if v, err := strconv.ParseInt(w.Payload, 10, 64); err == nil {
			last = max(last, v)
		}
		changed()
	}, func() {
		var now int64
		// Notifications wait meanwhile, so it must not take for ever.
		ctx, cancel := context.WithTimeout(ctx, pollPatience)
		defer cancel()
		if err := s.pool.QueryRow(ctx, "SELECT version FROM governance.counter").Scan(&now); err != nil {
			return // the listener tells of a database that is away
		}
		if now != last {
			last = now
			changed()
		}
	})
}

// watch calls woken for each wake-up of a channel, and poll about every Poll,
// both from this goroutine, until ctx ends.
func (s *Store) watch(ctx context.Context, channel string, woken func(pg.Wake), poll func()) error {
	l, err := pg.NewListener(s.pool, pg.ListenerConfig{Name: "weir governance listen", Channels: []string{channel}, Log: s.opts.Log})
	if err != nil {
		return err
	}
	sub := l.Subscribe(channel)
	defer sub.Close()
	l.Start(ctx)
	defer l.Stop()
	timer := time.NewTimer(jitter(s.opts.Poll))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case w := <-sub.C():
			woken(w)
		case <-timer.C:
			poll()
			timer.Reset(jitter(s.opts.Poll))
		}
	}
}

// jitter returns d, give or take a third, so that many processes do not ask at once.
func jitter(d time.Duration) time.Duration {
	third := int64(d) / 3
	return d - time.Duration(third) + time.Duration(rand.Int64N(2*third+1))
}
