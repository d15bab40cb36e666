//go:build linux

// Command bench compares Weir with its peers, in the same run on the same
// machine. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/test/bench/breaker"
	"github.com/weirmesh/weir/test/bench/bridge"
	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/discovery"
	"github.com/weirmesh/weir/test/bench/load"
	"github.com/weirmesh/weir/test/bench/match"
	"github.com/weirmesh/weir/test/bench/proxy"
	"github.com/weirmesh/weir/test/bench/push"
	"github.com/weirmesh/weir/test/bench/samples"
	"github.com/weirmesh/weir/test/bench/spans"
	"github.com/weirmesh/weir/test/bench/zookeeper"
)

func main() {
	if err := bench(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func bench(args []string) error {
	switch role := child.Role(); role {
	case "":
	case consumer.Role:
		return consumer.Run()
	case zookeeper.Role:
		return zookeeper.RunProviders()
	case bridge.RoleProvider:
		return bridge.RunProvider()
	case bridge.RoleGateway:
		return bridge.RunGateway()
	case bridge.RoleGeneric:
		return bridge.RunGeneric()
	case proxy.RoleBackend:
		return proxy.RunBackend()
	case load.Role:
		return load.Run()
	case proxy.RoleGateway:
		return proxy.RunGateway()
	case push.RoleControl:
		return push.RunControl()
	case push.RoleClients:
		return push.RunClients()
	default:
		return fmt.Errorf("no part is called %q", role)
	}
	name := "-h"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	ctx, _, release := run.Signals(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	for _, b := range benchmarks {
		if b.name != name {
			continue
		}
		if err := b.run(ctx, args); !errors.Is(err, flag.ErrHelp) {
			return err
		}
		return nil
	}
	if strings.TrimLeft(name, "-") == "h" || strings.TrimLeft(name, "-") == "help" {
		return usage(os.Stdout)
	}
	return fmt.Errorf("no benchmark is called %q; go run . -h lists them", name)
}

// benchmark is one comparison.
type benchmark struct {
	name, about string
	run         func(ctx context.Context, args []string) error
}

// of makes a benchmark of a package's two functions.
func of[O any](name, about string, parse func([]string, io.Writer) (O, error), run func(context.Context, O, io.Writer, io.Writer) error) benchmark {
	return benchmark{name, about, func(ctx context.Context, args []string) error {
		options, err := parse(args, os.Stderr)
		if err != nil {
			return err
		}
		return run(ctx, options, os.Stdout, os.Stderr)
	}}
}

var benchmarks = []benchmark{
	of("match", "finding a request's route among 10, 1,000 and 100,000 beside a linear scan", match.ParseOptions, match.Run),
	of("proxy", "a request through the gateway beside nginx and Caddy", proxy.ParseOptions, proxy.Run),
	of("dubbo", "a request to a Dubbo method beside dubbo-go's generic client", bridge.ParseOptions, bridge.Run),
	of("breaker", "a guarded call beside hystrix-go and gobreaker", breaker.ParseOptions, breaker.Run),
	of("push", "a policy to 1,000 and 10,000 streams, confirmed by each", push.ParseOptions, push.Run),
	of("samples", "the history of commands beside a row for each sample", samples.ParseOptions, samples.Run),
	of("spans", "spans stored per second, bytes per span, and spans lost after kill -9", spans.ParseOptions, spans.Run),
	of("discovery", "how consumers learn of instances: Kubernetes through Weir beside dubbo-go's own registry on ZooKeeper", discovery.ParseOptions, discovery.Run),
}

func usage(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Bench compares Weir with its peers, in the same run on the same machine.\n\nUsage: go run . BENCHMARK [flags]\n\n")
	for _, m := range benchmarks {
		fmt.Fprintf(&b, "  %-11s %s\n", m.name, m.about)
	}
	b.WriteString("\ngo run . BENCHMARK -h lists the flags of one. Progress goes to standard error,\nthe report to standard output.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
