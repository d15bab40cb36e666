//go:build linux

package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/memory"
	"github.com/weirmesh/weir/gateway/proxy"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/turns"
)

func startGateway(ctx context.Context, dir string, args gatewayArgs) (*turns.Subject, error) {
	p, err := child.Start(RoleGateway, dir)
	if err != nil {
		return nil, err
	}
	s := &turns.Subject{Name: "Weir", Process: p}
	return s, p.Call(ctx, "serve", args, &s.Address)
}

// serveGateway serves as weir gateway does, with its metrics and circuits, and
// routes of a host, a path with a variable and a header condition. The route
// that is asked for is one of many.
func serveGateway(args gatewayArgs) (string, error) {
	ctx := context.Background() // until the process ends
	store := memory.New(memory.Options{})
	writes := make([]gateway.Write, 0, args.Routes)
	for n := range args.Routes {
		r := gateway.Route{
			Namespace: "bench", Name: fmt.Sprintf("route-%d", n),
			Match: gateway.Match{
				Host: gateway.Strings{"bench.example.com"}, Path: fmt.Sprintf("/service-%d/items/{id}", n), Method: gateway.Strings{http.MethodGet},
				Header: []gateway.HeaderMatch{{Name: "X-Tenant", Equals: "a"}},
			},
			Filters: []gateway.Filter{
				{Timeout: &gateway.Timeout{Total: gateway.Duration(10 * time.Second)}},
				{Retry: &gateway.Retry{Attempts: 2, On: []string{"connect"}}},
			},
			Upstream: gateway.Upstream{URL: "http://" + args.Backend},
		}
		if n == args.Routes/2 {
			r.Match.Path = "/bench/items/{id}"
		}
		writes = append(writes, gateway.Write{Route: r, Expect: gateway.AnyRevision})
	}
	if _, err := store.Apply(ctx, writes, gateway.Change{Actor: "user:bench", Reason: "a benchmark"}); err != nil {
		return "", err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := proxy.New(proxy.Config{
		Node: "bench", Source: store, Log: log, Metrics: prometheus.NewRegistry(),
		Breakers: breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}}),
	})
	if err != nil {
		return "", err
	}
	go func() {
		if err := p.Run(ctx); err != nil {
			log.Error("ended by itself", "error", err)
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }() // until the process ends
	return l.Addr().String(), nil
}
