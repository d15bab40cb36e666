package dubbo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
)

// bridge lets provider processes write into the test's memory registry, each
// with an identity of its own.
type bridge struct {
	world  *memory.Registry
	strict bool
	url    string

	mu      sync.Mutex
	clients map[string]*memory.Client
}

type bridgeCall struct {
	ID, Host, Method string
	App              registry.App
	Registration     registry.Registration
	Interface        registry.Interface
	Revision         string
	Document         []byte
}

type bridgeAnswer struct {
	Code    registry.Code
	Message string
}

func newBridge(t *testing.T, world *memory.Registry, strict bool) *bridge {
	b := &bridge{world: world, strict: strict, clients: map[string]*memory.Client{}}
	srv := httptest.NewServer(b)
	t.Cleanup(func() {
		srv.Close()
		for _, c := range b.clients {
			c.Close()
		}
	})
	b.url = srv.URL
	return b
}

// client returns the identity of a process, for a test to cut or refuse it.
func (b *bridge) client(id, host string) *memory.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.clients[id] == nil {
		cfg := memory.Config{ID: id, Strict: b.strict}
		if host != "" {
			cfg.Host = netip.MustParseAddr(host)
		}
		b.clients[id] = b.world.Join(cfg)
	}
	return b.clients[id]
}

func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call bridgeCall
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := b.client(call.ID, call.Host)
	var err error
	switch call.Method {
	case "register":
		err = c.Register(r.Context(), call.Registration)
	case "unregister":
		err = c.Unregister(r.Context(), call.App)
	case "map":
		err = c.MapInterface(r.Context(), call.Interface, call.App)
	case "unmap":
		err = c.UnmapInterface(r.Context(), call.Interface, call.App)
	case "store":
		err = c.PutMetadata(r.Context(), call.App, call.Revision, call.Document)
	default:
		err = errors.New("no method " + call.Method)
	}
	var answer bridgeAnswer
	if err != nil {
		answer = bridgeAnswer{Code: registry.CodeOf(err), Message: err.Error()}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// bridged is the process's side.
type bridged struct {
	registry.Discoverer
	registry.Mapping
	registry.MetadataStore
	url, id, host string
}

func newBridged(url, id, host string) *bridged {
	own := memory.New().Join(memory.Config{ID: id}) // what a provider only reads
	return &bridged{Discoverer: own, Mapping: own, MetadataStore: own, url: url, id: id, host: host}
}

func (b *bridged) call(ctx context.Context, c bridgeCall) error {
	c.ID, c.Host = b.id, b.host
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return &registry.Error{Code: registry.Unavailable, Message: "the registry cannot be reached", Err: err}
	}
	defer resp.Body.Close()
	var a bridgeAnswer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	if a.Code == "" {
		return nil
	}
	return &registry.Error{Code: a.Code, Message: a.Message}
}

func (b *bridged) Register(ctx context.Context, r registry.Registration) error {
	return b.call(ctx, bridgeCall{Method: "register", Registration: r})
}

func (b *bridged) Unregister(ctx context.Context, app registry.App) error {
	return b.call(ctx, bridgeCall{Method: "unregister", App: app})
}

func (b *bridged) MapInterface(ctx context.Context, iface registry.Interface, app registry.App) error {
	return b.call(ctx, bridgeCall{Method: "map", Interface: iface, App: app})
}

func (b *bridged) UnmapInterface(ctx context.Context, iface registry.Interface, app registry.App) error {
	return b.call(ctx, bridgeCall{Method: "unmap", Interface: iface, App: app})
}

func (b *bridged) PutMetadata(ctx context.Context, app registry.App, revision string, document []byte) error {
	return b.call(ctx, bridgeCall{Method: "store", App: app, Revision: revision, Document: document})
}
