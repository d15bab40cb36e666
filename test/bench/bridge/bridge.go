//go:build linux

package bridge

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/gateway"
	weirdubbo "github.com/weirmesh/weir/gateway/dubbo"
	"github.com/weirmesh/weir/gateway/memory"
	"github.com/weirmesh/weir/gateway/proxy"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	registrymemory "github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/turns"
)

// Options say how to measure.
type Options struct{ turns.Options }

// ParseOptions reads flags; help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	fs := flag.NewFlagSet("dubbo", flag.ContinueOnError)
	fs.SetOutput(out)
	o.Flags(fs, 2000)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	err := o.Validate()
	return o, err
}

// RunGateway serves the whole gateway with one route to the provider.
func RunGateway() error {
	return child.Serve(map[string]child.Handler{"serve": child.Handle(func(provider string) (string, error) {
		ctx := context.Background() // until the process ends
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		at, err := netip.ParseAddrPort(provider)
		if err != nil {
			return "", err
		}
		known := registrymemory.New()
		app := registry.App{Namespace: "bench", Name: "greeter"}
		known.PutInstance(app, registry.Instance{
			ID: "greeter-1", Name: "greeter-1", Host: at.Addr(), Health: registry.Ready,
			Metadata: map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":"dubbo"}]`, at.Port())},
		})
		breakers := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}})
		metrics := prometheus.NewRegistry()
		discoverer := known.Join(registrymemory.Config{})
		d, err := weirdubbo.New(weirdubbo.Config{Discoverer: discoverer, Log: log, Metrics: metrics, Breakers: breakers})
		if err != nil {
			return "", err
		}
		store := memory.New(memory.Options{})
		_, err = store.Apply(ctx, []gateway.Write{{Expect: gateway.AnyRevision, Route: gateway.Route{
			Namespace: "bench", Name: "greet", Match: gateway.Match{Path: "/greet/{name}", Method: gateway.Strings{http.MethodGet}},
			Upstream: gateway.Upstream{Dubbo: &gateway.Dubbo{
				App: app.String(), Interface: iface, Method: method,
				Args: []gateway.Arg{{Type: "java.lang.String", From: "path.name"}, {Type: "int", From: "query.count"}},
			}},
		}}}, gateway.Change{Actor: "user:bench", Reason: "a benchmark"})
		if err != nil {
			return "", err
		}
		p, err := proxy.New(proxy.Config{Node: "bench", Source: store, Registry: discoverer, Dubbo: d, Breakers: breakers, Log: log, Metrics: metrics})
		if err != nil {
			return "", err
		}
		go func() {
			if err := p.Run(ctx); err != nil {
				log.Error("ended by itself", "error", err)
			}
		}()
		return serve(p)
	})})
}

// Run measures and prints.
func Run(ctx context.Context, o Options, out, progress io.Writer) error {
	dir, err := os.MkdirTemp("/var/tmp", "weir-bench-dubbo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	provider, err := child.Start(RoleProvider, dir)
	if err != nil {
		return err
	}
	defer provider.Kill()
	port, err := freePort()
	if err != nil {
		return err
	}
	var address string
	if err := provider.Call(ctx, "serve", port, &address); err != nil {
		return err
	}
	var subjects []*turns.Subject
	defer func() {
		for _, s := range subjects {
			s.Process.Stop(3 * time.Second)
		}
	}()
	for _, s := range []struct{ name, role string }{{"Weir", RoleGateway}, {"dubbo-go generic", RoleGeneric}} {
		p, err := child.Start(s.role, dir)
		if err != nil {
			return err
		}
		subject := &turns.Subject{Name: s.name, Process: p}
		subjects = append(subjects, subject)
		if err := p.Call(ctx, "serve", address, &subject.Address); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "HTTP to Dubbo: a method of two arguments that answers a class, Hessian2 over the Dubbo protocol.")
	return turns.Take(ctx, o.Options, dir, path, subjects, out, progress)
}

// freePort returns a free port below those that connections are made from: one of
// those may be taken, even by who asks whether it is served yet.
func freePort() (int, error) {
	for port := 21000; port < 22000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no port from 21000 to 21999 is free")
}
