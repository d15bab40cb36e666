package breaker

import (
	"context"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
)

func BenchmarkDo(b *testing.B) {
	good := func(context.Context) (int, error) { return 1, nil }
	bad := func(context.Context) (int, error) { return 0, errBroken }
	for _, bench := range []struct {
		name     string
		settings governance.Rules
		policies []governance.Version
		f        func(context.Context) (int, error)
	}{
		{"success", governance.Rules{}, nil, good},
		{"failure", settings(governance.Breaker{Mode: governance.ModeForcedClosed}), nil, bad},
		{"failure judged", settings(governance.Breaker{MinCalls: 1_000_000, Window: governance.Duration(time.Second)}), nil, bad},
		{"bulkhead", governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 1000}}, nil, good},
		{"timeout", governance.Rules{Timeout: governance.Duration(time.Minute)}, nil, good},
		{"switched off", governance.Rules{}, []governance.Version{pulled(1, time.Time{}, nil)}, good},
	} {
		b.Run(bench.name, func(b *testing.B) {
			s, _ := newSet(b, bench.settings)
			apply(b, s, bench.policies...)
			c := s.Circuit(reserve)
			ctx := context.Background() // as most programs have it
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, _ = Do(ctx, c, bench.f)
				}
			})
		})
	}
}

func BenchmarkBeginEnd(b *testing.B) {
	s, _ := newSet(b, governance.Rules{})
	c := s.Circuit(reserve)
	b.ReportAllocs()
	for b.Loop() {
		call, err := c.Begin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		call.End(Success)
	}
}

func BenchmarkFindCircuit(b *testing.B) {
	s, _ := newSet(b, governance.Rules{})
	b.ReportAllocs()
	for b.Loop() {
		s.Circuit(governance.Series{Command: "InventoryService.reserve", At: governance.Caller, Peer: inventory})
	}
}
