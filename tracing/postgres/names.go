package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/weirmesh/weir/tracing"
)

// Bounds of the lists of names.
const (
	maxName      = 1024    // bytes of one; what is longer is cut
	maxSeen      = 200_000 // that a process remembers
	maxPerOwner  = 10_000  // of one service or tag, as long as a process remembers
	maxListed    = 10_000
	microsPerDay = 24 * 3600 * 1_000_000
)

// name is one that lists show.
type name struct{ kind, owner, name string }

const (
	kindService = "service"
	kindSpan    = "span"
	kindRemote  = "remote"
	kindTag     = "tag"
)

// names remembers which names were stored today, so that each is stored once a
// day and not with every span.
type names struct {
	mu     sync.Mutex
	day    int64
	seen   map[name]struct{}
	counts map[[2]string]int
}

// fresh are names to store.
type fresh struct {
	day   int64
	names []name
}

// unseen returns the names in spans that were not stored today.
func (n *names) unseen(waiting []*pending, tagKeys []string, now int64) fresh {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := fresh{day: now / microsPerDay}
	if n.day != out.day || len(n.seen) > maxSeen {
		n.day, n.seen, n.counts = out.day, make(map[name]struct{}), make(map[[2]string]int)
	}
	found := make(map[name]struct{})
	check := func(kind, owner, text string) {
		k := name{kind, owner, text}
		if _, ok := n.seen[k]; ok || text == "" || n.counts[[2]string{kind, owner}] >= maxPerOwner {
			return
		}
		found[k] = struct{}{}
	}
	for _, p := range waiting {
		for i := range p.spans {
			s := &p.spans[i]
			if service := s.Local.Service; service != "" {
				check(kindService, "", service)
				check(kindSpan, service, s.Name)
				check(kindRemote, service, s.Remote.Service)
			}
			for _, key := range tagKeys {
				if value, ok := s.Tag(key); ok {
					check(kindTag, key, value)
				}
			}
		}
	}
	for k := range found {
		out.names = append(out.names, name{k.kind, strings.Clone(k.owner), strings.Clone(k.name)})
	}
	// In one order everywhere, so that two writers wait for one another at most.
	slices.SortFunc(out.names, func(a, b name) int {
		return cmp.Or(strings.Compare(a.kind, b.kind), strings.Compare(a.owner, b.owner), strings.Compare(a.name, b.name))
	})
	return out
}

// add remembers what was stored.
func (n *names) add(f fresh) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f.day != n.day {
		return
	}
	for _, k := range f.names {
		n.seen[k] = struct{}{}
		n.counts[[2]string{k.kind, k.owner}]++
	}
}

func (f fresh) insert(ctx context.Context, tx pgx.Tx) error {
	if len(f.names) == 0 {
		return nil
	}
	kinds, owners, texts := make([]string, len(f.names)), make([]string, len(f.names)), make([]string, len(f.names))
	for i, k := range f.names {
		kinds[i], owners[i], texts[i] = k.kind, storable(k.owner), storable(k.name)
	}
	_, err := tx.Exec(ctx, `INSERT INTO tracing.name AS n (kind, owner, name, seen)
		SELECT DISTINCT k, o, t, DATE '1970-01-01' + $4::int FROM unnest($1::text[], $2::text[], $3::text[]) AS x (k, o, t) ORDER BY k, o, t
		ON CONFLICT (kind, owner, name) DO UPDATE SET seen = excluded.seen WHERE n.seen < excluded.seen`, kinds, owners, texts, f.day)
	return err
}

// storable is a name as a text column and its index can hold it.
func storable(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\ufffd")
	}
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}

func (s *Store) list(ctx context.Context, kind, owner, what string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT name FROM tracing.name WHERE kind = $1 AND owner = $2 ORDER BY name COLLATE "C" LIMIT $3`, kind, storable(owner), maxListed)
	if err != nil {
		return nil, s.fail(ctx, err, "list "+what)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return out, s.fail(ctx, err, "list "+what)
}

// Services implements tracing.Reader.
func (s *Store) Services(ctx context.Context) ([]string, error) {
	return s.list(ctx, kindService, "", "services")
}

// SpanNames implements tracing.Reader.
func (s *Store) SpanNames(ctx context.Context, service string) ([]string, error) {
	return s.list(ctx, kindSpan, service, "names of spans")
}

// RemoteServices implements tracing.Reader.
func (s *Store) RemoteServices(ctx context.Context, service string) ([]string, error) {
	return s.list(ctx, kindRemote, service, "remote services")
}

// TagValues implements tracing.Reader: values of the keys in Config.TagKeys.
func (s *Store) TagValues(ctx context.Context, key string) ([]string, error) {
	if !slices.Contains(s.cfg.TagKeys, key) {
		return nil, nil
	}
	return s.list(ctx, kindTag, key, "values of tags")
}

var _ tracing.Reader = (*Store)(nil)
