// Package rpc sets dubbo-go up the way each process of the shop wants it: with
// or without a registry, counted, logged, and stopped without losing a call.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	"dubbo.apache.org/dubbo-go/v3/filter"
	"dubbo.apache.org/dubbo-go/v3/graceful_shutdown"
	"dubbo.apache.org/dubbo-go/v3/metrics"
	"dubbo.apache.org/dubbo-go/v3/metrics/probe"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/sdk"
	weirdubbo "github.com/weirmesh/weir/sdk/dubbo"
)

// Registries that a process can find others by.
const (
	Kubernetes = "kubernetes"
	Direct     = "direct" // none: addresses are given
)

// Config says how a process takes part. A process that only calls leaves
// Protocol and Listen empty.
type Config struct {
	App      string
	Registry string
	Log      *slog.Logger
	LogLevel slog.Level // of dubbo-go's own messages
	Observer *Observer
	Metrics  prometheus.Registerer // of the registry
	Kit      *sdk.Kit

	// Protocol is the protocol served, "dubbo" or "tri", at Listen, host:port. The
	// same is served over Triple at Triple, where that is not empty.
	Protocol, Listen, Triple string
	// ProbePort is where dubbo-go serves its own probes.
	ProbePort int
	// Drain is how long, after leaving the registry, calls are still taken, so
	// that callers can move on first. Finish is how long those under way may
	// take after that.
	Drain, Finish time.Duration
}

// New makes a dubbo-go instance. One process can have one.
func New(c Config) (*dubbo.Instance, error) {
	c.Observer.install()
	extension.SetRejectedExecutionHandler(constant.DefaultKey, func() filter.RejectedExecutionHandler { return refuse{} })

	opts := []dubbo.InstanceOption{
		dubbo.WithName(c.App),
		dubbo.WithLogger(logWith(c.Log, c.LogLevel)),
		dubbo.WithShutdown(
			graceful_shutdown.WithoutInternalSignal(), // only main handles signals
			graceful_shutdown.WithConsumerUpdateWaitTime(c.Drain),
			graceful_shutdown.WithOfflineRequestWindowTimeout(time.Second),
			graceful_shutdown.WithStepTimeout(c.Finish),
		),
	}
	if c.Protocol != "" {
		for _, served := range [][2]string{{c.Protocol, c.Listen}, {constant.TriProtocol, c.Triple}} {
			if served[1] == "" {
				continue
			}
			host, port, err := splitAddress(served[1])
			if err != nil {
				return nil, err
			}
			if err := checkFree(served[1]); err != nil {
				return nil, err
			}
			opts = append(opts, dubbo.WithProtocol(protocol.WithProtocol(served[0]), protocol.WithIp(host), protocol.WithPort(port)))
		}
		opts = append(opts, dubbo.WithMetrics(metrics.WithProbeEnabled(), metrics.WithProbePort(c.ProbePort)))
	}
	if c.Kit != nil {
		opts = append(opts, weirdubbo.WithGovernance(c.Kit))
	}
	switch c.Registry {
	case Kubernetes:
		opts = append(opts, withKubernetes(c))
	case Direct:
		opts = append(opts, dubbo.WithRemoteMetadata()) // nobody to describe the services to
	default:
		return nil, fmt.Errorf("registry %q is not one of %s, %s; set it with -registry", c.Registry, Kubernetes, Direct)
	}
	return dubbo.NewInstance(opts...)
}

// ServerFilter puts the observer on the path of a server's calls. On this side
// dubbo-go takes a list of filters in place of its own, among them the one that
// waits for calls under way at the end; so these are named too.
func ServerFilter() server.ServerOption {
	return server.WithServerFilter(constant.DefaultServiceFilters + "," + servedFilter)
}

// ClientFilter puts the observer on the path of a client's calls, beside
// dubbo-go's own filters.
func ClientFilter() client.ClientOption { return client.WithClientFilter(attemptFilter) }

// To returns the options that lead a reference to its provider: nothing under a
// registry, addresses without one. It waits until each address answers, as
// dubbo-go takes an address that does not for a fault of the program.
func To(ctx context.Context, registry, flagName, addresses string) ([]client.ReferenceOption, error) {
	if registry != Direct {
		if addresses != "" {
			return nil, fmt.Errorf("-%s is for -registry %s; under %s the registry knows the addresses", flagName, Direct, registry)
		}
		return nil, nil
	}
	if addresses == "" {
		return nil, fmt.Errorf("-registry %s needs addresses: set -%s", Direct, flagName)
	}
	urls := strings.Split(addresses, ",")
	for i, u := range urls {
		urls[i] = strings.TrimSpace(u)
		_, address, ok := strings.Cut(urls[i], "://")
		if !ok {
			return nil, fmt.Errorf("-%s: %q is not an address such as tri://127.0.0.1:20001", flagName, u)
		}
		if err := waitFor(ctx, address); err != nil {
			return nil, fmt.Errorf("-%s: %w", flagName, err)
		}
	}
	return []client.ReferenceOption{client.WithURL(strings.Join(urls, ";"))}, nil
}

func waitFor(ctx context.Context, address string) error {
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("nobody answered at %s: %w", address, err)
		}
	}
}

// Dial runs a dubbo-go dial, which panics on what it cannot do.
func Dial[T any](dial func() (T, error)) (c T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("dial: %s", sentence(p))
		}
	}()
	return dial()
}

// Registered returns why a provider is not registered yet, nil once it is.
// It asks dubbo-go's probe, which turns when registration is done.
func Registered(ctx context.Context) error {
	if err := probe.CheckReadiness(ctx); err != nil {
		return errors.New("not registered yet")
	}
	return nil
}

// Serve runs srv until ctx ends, then leaves: out of the registry, callers told,
// calls taken for the drain time, those under way finished. It returns nil after
// an orderly end.
func Serve(ctx context.Context, srv *server.Server) error {
	ended := make(chan error, 1)
	go func() {
		defer func() { // dubbo-go panics when it cannot listen
			if p := recover(); p != nil {
				ended <- fmt.Errorf("serve: %s", sentence(p))
			}
		}()
		ended <- srv.Serve()
	}()
	select {
	case err := <-ended:
		if err == nil {
			err = errors.New("serve: ended by itself")
		}
		return err
	case <-ctx.Done():
	}
	return Leave()
}

// Leave ends what this process has in dubbo-go; calls it makes itself are
// finished first. The bound on it is the sum of the configured steps.
func Leave() error {
	return graceful_shutdown.Shutdown(context.Background())
}

// sentence is the first line of what dubbo-go has to say: it prints stacks into
// the text after that.
func sentence(p any) string {
	line, _, _ := strings.Cut(fmt.Sprint(p), "\n")
	return line
}

// checkFree tells early and in one sentence that an address is taken, which
// dubbo-go tells by a panic.
func checkFree(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w; choose another with -listen", err)
	}
	return l.Close()
}

func splitAddress(address string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("-listen: %q is not host:port: %w", address, err)
	}
	if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("-listen: %q has no port between 1 and 65535", address)
	}
	return host, port, nil
}
