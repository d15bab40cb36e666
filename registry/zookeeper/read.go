package zookeeper

import (
	"context"
	"log/slog"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/weirmesh/weir/registry"
)

// State is what ZooKeeper holds of applications, by their names: there are no
// namespaces.
type State struct {
	Apps map[string]*AppState
}

// AppState is what ZooKeeper holds of one application.
type AppState struct {
	Instances []Instance // by application
	Providers []Provider // by interface
	// Consumers say that they look for an interface of the application.
	Consumers []Consumer
	// Offers are what revisions of the application offer, as far as its metadata is
	// in ZooKeeper.
	Offers map[string][]registry.Offer
}

// Interface nodes that belong to Dubbo itself.
var ownInterfaces = []string{"org.apache.dubbo.metadata.MetadataService", "org.apache.dubbo.metadata.MetadataServiceV2"}

// parallel bounds what is asked of ZooKeeper at once.
const parallel = 32

// Read reads what ZooKeeper holds of all applications. What cannot be understood is
// left out and logged: a node may be anybody's.
func (c *Client) Read(ctx context.Context) (State, error) {
	r := reading{c: c, state: State{Apps: map[string]*AppState{}}}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	interfaces, err := c.children(ctx, c.cfg.Interfaces)
	if err != nil {
		return State{}, err
	}
	for _, name := range interfaces {
		group.Go(func() error { return r.readInterface(ctx, name) })
	}
	apps, err := c.children(ctx, c.cfg.Applications)
	if err != nil {
		return State{}, err
	}
	for _, name := range apps {
		if c.cfg.Applications == c.cfg.Interfaces && strings.Contains(name, ".") {
			continue // an interface, where both kinds have one node above them
		}
		group.Go(func() error { return r.readApp(ctx, name) })
	}
	if err := group.Wait(); err != nil {
		return State{}, err
	}
	r.attribute()
	return r.state, nil
}

type reading struct {
	c *Client

	mu        sync.Mutex
	state     State
	consumers []Consumer
}

// app returns what is known of an application. mu is held.
func (r *reading) app(name string) *AppState {
	a := r.state.Apps[name]
	if a == nil {
		a = &AppState{Offers: map[string][]registry.Offer{}}
		r.state.Apps[name] = a
	}
	return a
}

func (r *reading) readInterface(ctx context.Context, name string) error {
	if decoded, err := url.QueryUnescape(name); err != nil || slices.Contains(ownInterfaces, decoded) {
		return nil //nolint:nilerr // what is not encoded is no interface
	}
	at := path.Join(r.c.cfg.Interfaces, name)
	nodes, err := r.c.children(ctx, at+"/providers")
	if err != nil {
		return err
	}
	for _, node := range nodes {
		p, err := decodeProvider(node)
		if err != nil || p.App == "" {
			r.skip(at+"/providers", node, err)
			continue
		}
		r.mu.Lock()
		a := r.app(p.App)
		a.Providers = append(a.Providers, p)
		r.mu.Unlock()
	}
	if nodes, err = r.c.children(ctx, at+"/consumers"); err != nil {
		return err
	}
	for _, node := range nodes {
		consumer, err := decodeConsumer(node)
		if err != nil {
			r.skip(at+"/consumers", node, err)
			continue
		}
		r.mu.Lock()
		r.consumers = append(r.consumers, consumer)
		r.mu.Unlock()
	}
	return nil
}

func (r *reading) readApp(ctx context.Context, name string) error {
	at := path.Join(r.c.cfg.Applications, name)
	nodes, err := r.c.children(ctx, at)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		content, ok, err := r.c.content(ctx, path.Join(at, node))
		if err != nil {
			return err
		}
		if !ok || len(content) == 0 {
			continue // gone since it was listed, or a node between
		}
		instance, err := decodeInstance(name, content)
		if err != nil {
			r.skip(at, node, err)
			continue
		}
		if err := r.readDocument(ctx, instance); err != nil {
			return err
		}
		r.mu.Lock()
		a := r.app(name)
		a.Instances = append(a.Instances, instance)
		r.mu.Unlock()
	}
	return nil
}

// readDocument reads the metadata of an instance, where its metadata report is here
// too: below the node of interfaces, as Dubbo's groups are by default.
func (r *reading) readDocument(ctx context.Context, i Instance) error {
	r.mu.Lock()
	_, known := r.app(i.App).Offers[i.Revision]
	r.mu.Unlock()
	if known || i.Revision == "" {
		return nil
	}
	at := path.Join(r.c.cfg.Interfaces, i.App, i.Revision)
	content, ok, err := r.c.content(ctx, at)
	if err != nil || !ok {
		return err
	}
	offers, err := registry.DecodeDocument(content)
	if err != nil {
		r.skip(path.Dir(at), i.Revision, err)
		return nil
	}
	r.mu.Lock()
	r.app(i.App).Offers[i.Revision] = offers
	r.mu.Unlock()
	return nil
}

func (r *reading) skip(at, node string, err error) {
	reason := "it names no application"
	if err != nil {
		reason = err.Error()
	}
	r.c.cfg.Logger.Debug("a node is left out", slog.String("below", at), slog.String("node", node), slog.String("reason", reason))
}

// attribute gives consumers to the applications that provide what they look for.
func (r *reading) attribute() {
	for _, a := range r.state.Apps {
		provides := map[string]bool{}
		for _, p := range a.Providers {
			provides[p.Name] = true
		}
		for _, offers := range a.Offers {
			for _, o := range offers {
				provides[o.Name] = true
			}
		}
		for _, c := range r.consumers {
			if provides[c.Name] {
				a.Consumers = append(a.Consumers, c)
			}
		}
	}
}
