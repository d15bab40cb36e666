//go:build linux

package consumer

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	dubboregistry "dubbo.apache.org/dubbo-go/v3/registry"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/registry"
	weirdubbo "github.com/weirmesh/weir/registry/dubbo"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/dubbo"
	"github.com/weirmesh/weir/test/bench/plan"
)

// openHub opens Weir's registry as a consumer in a pod would, with a tap where
// answers come in.
func openHub(ctx context.Context, args OpenArgs, t *tap) (*kube.Hub, error) {
	config, err := clientcmd.BuildConfigFromFlags("", args.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", args.Kubeconfig, err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &tappedTransport{next: next, tap: t} })
	hub, err := kube.Open(ctx, kube.Config{
		REST: config, Namespaces: []string{args.Namespace},
		Identity: kube.Identity{Namespace: args.Namespace}, App: "bench-consumer",
		Logger: logger(),
	})
	if err != nil {
		return nil, err
	}
	if err := hub.WaitSynced(ctx); err != nil {
		return nil, err
	}
	return hub, nil
}

// logger writes to the process's log, as much as dubbo-go is left to write.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// hubSource is Weir's registry with nothing on top.
type hubSource struct {
	namespace string
	plan      plan.Plan
	hub       *kube.Hub
	watched   *watched
}

func newHubSource(ctx context.Context, args OpenArgs, t *tap) (source, error) {
	hub, err := openHub(ctx, args, t)
	if err != nil {
		return nil, err
	}
	return &hubSource{namespace: args.Namespace, plan: args.Plan, hub: hub, watched: &watched{Discoverer: hub}}, nil
}

func (s *hubSource) subscribe(l *list) error {
	app := registry.App{Namespace: s.namespace, Name: plan.AppName(l.app)}
	_, err := s.watched.Subscribe(app, func(snapshot registry.Snapshot) {
		l.replaceHosts(func(yield func(string) bool) {
			for i := range snapshot.Instances {
				if instance := &snapshot.Instances[i]; instance.Callable() && !yield(instance.Host.String()) {
					return
				}
			}
		})
	})
	return err
}

func (s *hubSource) observed() int64           { return s.watched.when() }
func (s *hubSource) arm(instance int, up bool) { s.watched.arm(plan.Host(instance), up) }

// weirSource is Weir's registry under dubbo-go.
type weirSource struct {
	registry dubboregistry.Registry
	watched  *watched
}

const weirName = "kubernetes"

func newWeirSource(ctx context.Context, args OpenArgs, t *tap) (source, error) {
	if err := dubbo.Quiet(); err != nil {
		return nil, err
	}
	hub, err := openHub(ctx, args, t)
	if err != nil {
		return nil, err
	}
	s := &weirSource{watched: &watched{Discoverer: hub}}
	if _, err := weirdubbo.Use(weirName, weirdubbo.Backend{Discoverer: s.watched, Mapping: hub, Metadata: hub},
		weirdubbo.Config{Namespace: args.Namespace, Logger: logger()}); err != nil {
		return nil, err
	}
	u, err := common.NewURL(weirName + "://" + weirName + "." + args.Namespace)
	if err != nil {
		return nil, err
	}
	s.registry, err = extension.GetRegistry(weirName, u)
	return s, err
}

func (s *weirSource) subscribe(l *list) error {
	return s.registry.Subscribe(dubbo.ConsumerURL(l.app), l)
}

func (s *weirSource) observed() int64           { return s.watched.when() }
func (s *weirSource) arm(instance int, up bool) { s.watched.arm(plan.Host(instance), up) }

// watched hands on a hub's snapshots and notes when the hub itself says it learnt
// of an armed change: Snapshot.Observed of the first snapshot that has it.
type watched struct {
	registry.Discoverer

	mu       sync.Mutex
	host     string
	up       bool
	observed int64
}

func (w *watched) arm(host string, up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.host, w.up, w.observed = host, up, 0
}

func (w *watched) when() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observed
}

// Subscribe is the Discoverer's, with an ear in between.
func (w *watched) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	return w.Discoverer.Subscribe(app, func(s registry.Snapshot) {
		w.note(s)
		notify(s)
	})
}

func (w *watched) note(s registry.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host == "" || w.observed != 0 {
		return
	}
	for i := range s.Instances {
		if instance := &s.Instances[i]; instance.Host.String() == w.host {
			if instance.Callable() == w.up {
				w.observed = clock.Of(s.Observed)
			}
			return
		}
	}
}

// tappedTransport tells the tap what comes in from the API server. Changes are
// told by the watch of EndpointSlices: that a pod's own status changed comes
// before, and is not what the list is made of.
type tappedTransport struct {
	next http.RoundTripper
	tap  *tap
}

func (t *tappedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.next.RoundTrip(r)
	if err == nil && answer.Body != nil {
		answer.Body = &tappedBody{ReadCloser: answer.Body, tap: t.tap, slices: strings.HasSuffix(r.URL.Path, "/endpointslices")}
	}
	return answer, err
}

// WrappedRoundTripper lets client-go find the transport beneath.
func (t *tappedTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

type tappedBody struct {
	io.ReadCloser
	tap    *tap
	slices bool
}

func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.tap.message(p[:n], b.slices)
	}
	return n, err
}
