package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/internal/testzk"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// bridged is a registry, a ZooKeeper, and bridges between them.
type bridged struct {
	t      testing.TB
	reg    *memory.Registry
	client *memory.Client
	from   registry.Discoverer // the client, unless a test has something between
	server *testzk.Server
	look   *Client // at what is in ZooKeeper
	cfg    Config
}

func newBridged(t testing.TB, server *testzk.Server) *bridged {
	t.Helper()
	root := server.Root(t)
	b := &bridged{t: t, reg: memory.New(), server: server, cfg: Config{Servers: server.Address(), Interfaces: root, Session: 10 * time.Second}}
	b.client = b.reg.Join(memory.Config{})
	t.Cleanup(b.client.Close)
	b.from = b.client
	b.look = dial(t, b.cfg)
	b.reg.PutService(inventory, registry.Service{})
	if err := b.client.PutMetadata(within(t), inventory, "r1", []byte(stockDocument)); err != nil {
		t.Fatal(err)
	}
	return b
}

// instance makes one of the application ready, at 10.0.0.n.
func (b *bridged) instance(n byte, change ...func(*registry.Instance)) {
	b.t.Helper()
	i := registry.Instance{
		ID: fmt.Sprintf("uid-%d", n), Name: fmt.Sprintf("inventory-%d", n), Host: netip.AddrFrom4([4]byte{10, 0, 0, n}), Health: registry.Ready, Revision: "r1",
		Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: 20000}, {Protocol: "tri", Port: 20001}},
		Metadata:  map[string]string{registry.KeyRevision: "r1", registry.KeyEndpoints: `[{"port":20000,"protocol":"dubbo"},{"port":20001,"protocol":"tri"}]`},
		Details:   registry.Details{Weight: 100, Started: time.UnixMilli(1730000000000)},
	}
	for _, f := range change {
		f(&i)
	}
	b.reg.PutInstance(inventory, i)
}

// running is a bridge that runs.
type running struct {
	*Bridge
	b      *bridged
	cancel context.CancelFunc
	done   chan error
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (b *bridged) run(change ...func(*BridgeConfig)) *running {
	b.t.Helper()
	log := &lockedBuffer{}
	cfg := BridgeConfig{
		ZooKeeper: b.cfg, Name: "test" + strings.ReplaceAll(b.cfg.Interfaces, "/", "-"), Apps: []string{"shop/*"}, Node: "node",
		Resync: 200 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry(),
	}
	for _, f := range change {
		f(&cfg)
	}
	bridge, err := NewBridge(b.from, b.client, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Bridge: bridge, b: b, cancel: cancel, done: make(chan error, 1), log: log}
	go func() { r.done <- bridge.Run(ctx) }()
	b.t.Cleanup(func() {
		r.end()
		if b.t.Failed() {
			b.t.Logf("log of a bridge:\n%s", log)
		}
	})
	return r
}

func (r *running) end() {
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- err
		if !errors.Is(err, context.Canceled) {
			r.b.t.Errorf("the bridge ended with %v", err)
		}
	case <-time.After(deadline):
		r.b.t.Fatal("the bridge does not end")
	}
}

func (r *running) says(what string) {
	r.b.t.Helper()
	r.b.eventually("the log says "+what, func() error {
		if !strings.Contains(r.log.String(), what) {
			return errors.New(r.log.String())
		}
		return nil
	})
}

func (b *bridged) eventually(what string, check func() error) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(deadline)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			b.t.Fatalf("%s: %v", what, err)
		}
	}
}

// providers returns what consumers of an interface find.
func (b *bridged) providers(iface string) ([]Provider, error) {
	names, err := b.look.children(within(b.t), b.cfg.Interfaces+"/"+iface+"/providers")
	var out []Provider
	for _, name := range names {
		p, err := decodeProvider(name)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(x, y Provider) int { return strings.Compare(x.Host+x.Bridge, y.Host+y.Bridge) })
	return out, err
}

// finds waits until consumers of Stock find these hosts, a * behind those that a
// provider has written itself.
func (b *bridged) finds(want ...string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("consumers find %v", want), func() error {
		list, err := b.providers("org.example.Stock")
		if err != nil {
			return err
		}
		have := []string{}
		for _, p := range list {
			host := p.Host
			if p.Bridge == "" {
				host += "*"
			}
			have = append(have, host)
		}
		if !slices.Equal(have, want) {
			return fmt.Errorf("they find %v", have)
		}
		return nil
	})
}
