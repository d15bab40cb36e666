package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/internal/node"
)

func TestControlPlanesSayThatTheyLive(t *testing.T) {
	t.Parallel()
	s, pool := open(t, governancetest.NewClock())
	started := time.Now()
	one := node.Node{Name: "one", Version: "1.2", Started: started, Facts: node.Facts{
		Queues: []node.Queue{{Name: "streams", Depth: 3, Limit: 10, Unit: "instances", Oldest: started.UTC()}}, Notes: []string{"slow"},
	}}
	for _, n := range []node.Node{one, {Name: "two", Version: "1.1", Started: started}, {Name: "gone", Started: started}, {Name: "long ago", Started: started}} {
		if err := s.SetNode(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	for name, age := range map[string]time.Duration{"gone": node.Gone + time.Second, "long ago": node.Forgotten + time.Second} {
		if _, err := pool.Exec(t.Context(), "UPDATE governance.node SET seen = clock_timestamp() - $2::interval WHERE name = $1", name, age); err != nil {
			t.Fatal(err)
		}
	}
	names := func() (out []string) {
		list, err := s.Nodes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range list {
			out = append(out, n.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("live: %v", got)
	}
	list, err := s.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := list[0]
	if got.Role != "control" || got.Version != "1.2" || !got.Started.Equal(started.Truncate(time.Microsecond)) || time.Since(got.Seen).Abs() > time.Minute ||
		fmt.Sprint(got.Facts) != fmt.Sprint(one.Facts) {
		t.Errorf("got %+v", got)
	}

	// Its own end is not that of another process by its name.
	again := one
	again.Started = started.Add(time.Second)
	for _, step := range []func() error{
		func() error { return s.SetNode(t.Context(), again) },
		func() error { return s.EndNode(t.Context(), one) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); !slices.Contains(got, "one") {
		t.Errorf("live: %v", got)
	}
	if err := s.EndNode(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("live: %v", got)
	}
	// What is long gone was swept, what is gone is kept a while.
	var left int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM governance.node").Scan(&left); err != nil || left != 2 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

func TestWhatTheTablesTake(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, _ := open(t, clock)
	begin := clock.Now()
	for n := range 3 {
		if err := s.Append(t.Context(), report(fmt.Sprint("i", n), 1, begin)); err != nil {
			t.Fatal(err)
		}
	}
	queues, err := s.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Depth != 3 || queues[0].Unit != "reports" || queues[0].Oldest.Sub(begin).Abs() > time.Minute {
		t.Errorf("queues %+v, %v", queues, err)
	}
	clock.Advance(5 * time.Minute)
	if err := s.Fold(t.Context()); err != nil { // makes partitions
		t.Fatal(err)
	}
	if queues, err = s.Queues(t.Context()); err != nil || queues[0].Depth != 0 || !queues[0].Oldest.IsZero() {
		t.Errorf("queues %+v, %v", queues, err)
	}
	parts, err := s.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, p := range parts {
		found[p.Table]++
		if p.Schema != "governance" || p.Bytes <= 0 || p.Rows < 0 {
			t.Errorf("got %+v", p)
		}
		if p.Name == p.Table != p.From.IsZero() || !p.From.IsZero() && !p.From.Before(p.To) {
			t.Errorf("bounds of %+v", p)
		}
		if p.Table == "chunk" && p.Name == "chunk_"+begin.UTC().Format("20060102") && !p.From.Equal(begin.UTC().Truncate(24*time.Hour)) {
			t.Errorf("got %+v", p)
		}
	}
	if found["chunk"] < 3 || found["event"] < 2 || found["rollup10"] < 3 || found["staging"] != 1 || found["goose_db_version"] != 0 {
		t.Errorf("found %v", found)
	}
}

func TestInstancesByTheirSDK(t *testing.T) {
	t.Parallel()
	clock := governancetest.NewClock()
	s, _ := open(t, clock)
	for n, sdk := range []string{"0.1", "0.1", "0.2", ""} {
		if err := s.PutInstances(t.Context(), governance.Instance{App: app, ID: fmt.Sprint(n), SDK: sdk, Seen: clock.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.SDKs(t.Context())
	want := []node.SDK{{Namespace: app.Namespace, Version: "", Instances: 1}, {Namespace: app.Namespace, Version: "0.1", Instances: 2}, {Namespace: app.Namespace, Version: "0.2", Instances: 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	clock.Advance(time.Hour)
	if got, err := s.SDKs(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("of those that are gone: %+v, %v", got, err)
	}
}
