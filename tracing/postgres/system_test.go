package postgres_test

import (
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/postgres"
)

func TestCollectorsSayThatTheyLive(t *testing.T) {
	s := open(t, database(t), postgres.Config{})
	n := node.Node{Name: "one", Version: "1.2", Started: time.Now(), Facts: node.Facts{Queues: []node.Queue{{Name: "span spool", Depth: 7, Limit: 9, Unit: "bytes"}}}}
	if err := s.SetNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	list, err := s.Nodes(t.Context())
	if err != nil || len(list) != 1 || list[0].Role != "tracing" || list[0].Facts.Queues[0] != n.Facts.Queues[0] {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := s.EndNode(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if list, err = s.Nodes(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("after its end: %+v, %v", list, err)
	}
}

func TestWhatTheTablesTake(t *testing.T) {
	s := open(t, database(t), postgres.Config{Quiet: -1})
	now := time.Now()
	span := func(trace uint64) tracing.Span {
		return tracing.Span{TraceID: tracing.TraceID{Low: trace}, ID: 1, Name: "get", Timestamp: now.UnixMicro(), Duration: 5, Local: tracing.Endpoint{Service: "shop"}}
	}
	if err := s.Write(t.Context(), []tracing.Span{span(1), span(2)}); err != nil {
		t.Fatal(err)
	}
	queues, err := s.Queues(t.Context())
	if err != nil || len(queues) != 1 || queues[0].Depth != 2 || queues[0].Unit != "traces" || now.Sub(queues[0].Oldest).Abs() > time.Minute {
		t.Errorf("queues %+v, %v", queues, err)
	}
	linkAll(t, s)
	if queues, err = s.Queues(t.Context()); err != nil || queues[0].Depth != 0 || !queues[0].Oldest.IsZero() {
		t.Errorf("once they are linked: %+v, %v", queues, err)
	}
	parts, err := s.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]node.Partition{}
	for _, p := range parts {
		found[p.Name] = p
		if p.Schema != "tracing" || p.Bytes <= 0 && p.Name != p.Table || p.Rows < 0 {
			t.Errorf("got %+v", p)
		}
	}
	today := now.UTC().Truncate(24 * time.Hour)
	if p := found["fragment_"+today.Format("20060102")]; p.Table != "fragment" || !p.From.Equal(today) || !p.To.Equal(today.Add(24*time.Hour)) {
		t.Errorf("today's is %+v", p)
	}
	if p, there := found["fragment_default"]; !there || !p.From.IsZero() || p.Table != "fragment" {
		t.Errorf("the one for the rest is %+v", p)
	}
	if _, there := found["dirty"]; !there {
		t.Error("tables without parts are not told")
	}
}
