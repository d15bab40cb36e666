//go:build linux

// Package push measures how fast a policy reaches running services and their
// confirmation comes back: a control plane on a real PostgreSQL in one process,
// thousands of streams in another.
package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/test/bench/child"
)

// Roles of this program.
const (
	RoleControl = "push-control"
	RoleClients = "push-clients"
)

// app is whose instances hold the streams.
var app = governance.App{Namespace: "bench", Name: "inventory"}

// anybody takes every request for an instance's of the benchmark's namespace:
// TokenReview is not what is measured, and its answers are kept for a minute.
type anybody struct{}

func (anybody) Authenticate(context.Context, access.Credentials) (access.Principal, error) {
	return access.Principal{Kind: access.KindInstance, Name: "bench/inventory", Instance: &access.Instance{Namespace: app.Namespace}}, nil
}

// nobody keeps no audit: nothing here is written by way of the API.
type nobody struct{}

func (nobody) Begin(context.Context, access.Entry) (int64, error) {
	return 0, errors.New("the benchmark's control plane takes no writes")
}
func (nobody) End(context.Context, int64, string, int64) error { return nil }

// RunControl serves streams and reports until the benchmark ends.
func RunControl() error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var store *postgres.Store
	return child.Serve(map[string]child.Handler{
		"serve": child.Handle(func(url string) (string, error) {
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
			pool, err := pg.Open(ctx, url, pg.Options{})
			if err != nil {
				return "", err
			}
			if err := pg.Migrate(ctx, pool, postgres.Schema, postgres.Migrations(), log); err != nil {
				return "", err
			}
			store = postgres.New(pool, postgres.Options{Log: log})
			a := api.New(api.Config{Store: store, Log: log, MaxReports: 1024})
			h := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "bench", Version: "0", Auth: anybody{}, Audit: nobody{}, Log: log})
			a.Register(h)
			for _, run := range []func(context.Context) error{store.Run, a.Run} {
				go func() {
					if err := run(ctx); err != nil && ctx.Err() == nil {
						log.Error("ended by itself", "error", err)
					}
				}()
			}
			for a.Ready() != nil { // the policies are read in the background
				timer := time.NewTimer(10 * time.Millisecond)
				<-timer.C
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return "", err
			}
			srv := &http.Server{Handler: h.Handler(), ReadHeaderTimeout: time.Minute}
			go func() { _ = srv.Serve(l) }() // until the process ends
			return l.Addr().String(), nil
		}),
		"profile": child.Handle(func(file string) (string, error) {
			f, err := os.Create(file)
			if err != nil {
				return "", err
			}
			return file, pprof.StartCPUProfile(f) // which is open until the process ends
		}),
		"profiled": child.Handle(func(struct{}) (string, error) {
			pprof.StopCPUProfile()
			return "", nil
		}),
		"publish": child.Handle(func(n int) (publication, error) {
			p := governance.Policy{
				Target: governance.Target{App: app, Command: "InventoryService.reserve"},
				Rules: governance.Rules{
					Timeout: governance.Duration(time.Duration(n+1) * time.Millisecond),
					Breaker: &governance.Breaker{Window: governance.Duration(10 * time.Second), MinCalls: 20, ErrorPercent: 50, OpenFor: governance.Duration(5 * time.Second)},
				},
			}.WithDefaults()
			began := time.Now()
			v, err := store.Put(ctx, p, governance.AnyVersion, governance.Change{Actor: "user:bench", Reason: fmt.Sprintf("turn %d of a benchmark", n)})
			return publication{Version: v.Version, Began: began, Wrote: time.Since(began)}, err
		}),
	})
}

// publication is one policy on its way.
type publication struct {
	Version int64         `json:"version"`
	Began   time.Time     `json:"began"` // when its write began
	Wrote   time.Duration `json:"wrote"` // how long that took
}
