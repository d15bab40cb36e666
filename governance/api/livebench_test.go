package api_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/governance/sketch"
	"github.com/weirmesh/weir/internal/testdb"
)

// liveMesh is what 200 applications of three instances report in a second, ten
// commands each, about twenty calls to a command.
func liveMesh(b *testing.B, second int64, seq int64) []governance.Report {
	b.Helper()
	r := rand.New(rand.NewPCG(uint64(second), 7))
	out := make([]governance.Report, 0, 600)
	for app := range 200 {
		for instance := range 3 {
			rep := governance.Report{
				Wire: 1, App: governance.App{Namespace: "mesh", Name: fmt.Sprint("app-", app)}, Instance: fmt.Sprintf("app-%d-%d", app, instance), Boot: "b", Seq: seq,
			}
			for command := range 10 {
				var lat sketch.Sketch
				n := 15 + r.IntN(10)
				for range n {
					lat.Add(time.Duration(8e6 * math.Exp(r.NormFloat64()/2)))
				}
				raw, err := lat.MarshalBinary()
				if err != nil {
					b.Fatal(err)
				}
				rep.Samples = append(rep.Samples, governance.Sample{
					Series: governance.Series{Command: fmt.Sprint("Service.method", command), At: governance.Provider}, Second: second,
					Counts: governance.Counts{Success: int64(n)}, Latency: raw, InFlight: 2, State: governance.StateClosed,
				})
			}
			out = append(out, rep)
		}
	}
	return out
}

// BenchmarkLive is one second of 6,000 series of instances: read from PostgreSQL,
// decoded, merged, and told as what changed, with four applications looked at. An
// operation is a second of a control plane's time while somebody watches.
func BenchmarkLive(b *testing.B) {
	db := testdb.New(b, testdb.Migrated(postgres.Schema, postgres.Migrations()))
	store := postgres.New(db.Pool(), postgres.Options{})
	ctx := context.Background()
	f := api.NewFollower(store, governance.App{Namespace: "mesh", Name: "app-0"}, governance.App{Namespace: "mesh", Name: "app-1"},
		governance.App{Namespace: "mesh", Name: "app-2"}, governance.App{Namespace: "mesh", Name: "app-3"})
	second, seq := time.Now().Unix()-60, int64(0)
	put := func() {
		seq++
		done := make(chan error, 600)
		reports := liveMesh(b, second+seq%60, seq)
		for _, r := range reports {
			go func() { done <- store.Append(ctx, r) }()
		}
		for range reports {
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		}
	}
	put()
	if err := f(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		put()
		b.StartTimer()
		if err := f(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHealth is GET /health of those 200 applications, by who follows and by
// the store alone.
func BenchmarkHealth(b *testing.B) {
	for _, watched := range []bool{true, false} {
		b.Run(fmt.Sprintf("watched=%v", watched), func(b *testing.B) {
			db := testdb.New(b, testdb.Migrated(postgres.Schema, postgres.Migrations()))
			store := postgres.New(db.Pool(), postgres.Options{})
			k := onPostgres(b, db.URL, api.Config{})
			for seq := range int64(10) {
				done := make(chan error, 600)
				reports := liveMesh(b, time.Now().Unix()-30+seq, seq+1)
				for _, r := range reports {
					go func() { done <- store.Append(context.Background(), r) }()
				}
				for range reports {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
			}
			if watched {
				v := k.watch("", "viewer", "")
				read[api.LiveHealth](v, "health")
			}
			b.ReportAllocs()
			for b.Loop() {
				k.want(200, k.do(http.MethodGet, "/api/v1/health", "viewer", nil))
			}
		})
	}
}
