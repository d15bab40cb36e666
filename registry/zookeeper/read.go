package zookeeper

import (
	"context"
	"fmt"
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
	// Rules are those that concern none of Apps.
	Rules []Rule
	// Unread are nodes that could not be understood, or that this client may not read:
	// a node may be anybody's. See Compare.
	Unread []Unread
}

// Unread is a node that was left out, and why.
type Unread struct {
	Node   string
	Reason string
	// App and Interface are those below which it stands, as far as that is known.
	App, Interface string
	// Aside is set of what no provider is kept in: consumers and rules.
	Aside bool
}

// concerns reports whether a node may hold something of an application that provides
// these interfaces; nil where it is not known which.
func (u Unread) concerns(app string, provides map[string]bool) bool {
	switch {
	case u.App != "":
		return u.App == app
	case u.Interface == "":
		return true
	}
	return provides == nil || provides[u.Interface]
}

// AppState is what ZooKeeper holds of one application.
type AppState struct {
	Instances []Instance // by application
	Providers []Provider // by interface
	// Consumers say that they look for an interface of the application.
	Consumers []Consumer
	// Rules are for the application, or for interfaces that it provides.
	Rules []Rule
	// Offers are what revisions of the application offer, as far as its metadata is
	// in ZooKeeper.
	Offers map[string][]registry.Offer
}

// Interface nodes that belong to Dubbo itself.
var ownInterfaces = []string{"org.apache.dubbo.metadata.MetadataService", "org.apache.dubbo.metadata.MetadataServiceV2"}

// parallel bounds what is asked of ZooKeeper at once.
const parallel = 32

// Read reads what ZooKeeper holds of all applications. NotFound where it has neither
// of the nodes below which Dubbo keeps them: that is no ZooKeeper of Dubbo's, or one
// whose nodes have other names, and says nothing of applications.
func (c *Client) Read(ctx context.Context) (State, error) {
	r := reading{c: c, state: State{Apps: map[string]*AppState{}}}
	interfaces, byInterface, err := c.root(ctx, c.cfg.Interfaces)
	if err != nil {
		return State{}, err
	}
	apps, byApp, err := c.root(ctx, c.cfg.Applications)
	if err != nil {
		return State{}, err
	}
	if !byInterface && !byApp {
		return State{}, &registry.Error{
			Code:    registry.NotFound,
			Message: fmt.Sprintf("ZooKeeper at %s has neither %s nor %s, so Dubbo keeps nothing there under these names", c.Servers(), c.cfg.Interfaces, c.cfg.Applications),
			Fix:     "name the nodes that Dubbo's registry uses by --zookeeper-interfaces (its group) and --zookeeper-applications, or another ZooKeeper",
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range interfaces {
		group.Go(func() error { return r.readInterface(ctx, name) })
	}
	group.Go(func() error { return r.readCentre(ctx) })
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
	nodes, err := r.children(ctx, at+"/providers", Unread{Interface: plainName(name)})
	if err != nil {
		return err
	}
	for _, node := range nodes {
		p, err := decodeProvider(node)
		if err != nil || p.App == "" {
			r.skip(Unread{Node: at + "/providers/" + node, Interface: plainName(name)}, err)
			continue
		}
		r.mu.Lock()
		a := r.app(p.App)
		a.Providers = append(a.Providers, p)
		r.mu.Unlock()
	}
	if nodes, err = r.children(ctx, at+"/consumers", Unread{Interface: plainName(name), Aside: true}); err != nil {
		return err
	}
	for _, node := range nodes {
		consumer, err := decodeConsumer(node)
		if err != nil {
			continue // whoever it is, it provides nothing
		}
		r.mu.Lock()
		r.consumers = append(r.consumers, consumer)
		r.mu.Unlock()
	}
	return r.readRules(ctx, name, at)
}

func (r *reading) readApp(ctx context.Context, name string) error {
	at := path.Join(r.c.cfg.Applications, name)
	nodes, err := r.children(ctx, at, Unread{App: name})
	if err != nil {
		return err
	}
	for _, node := range nodes {
		content, ok, err := r.content(ctx, path.Join(at, node), Unread{App: name})
		if err != nil {
			return err
		}
		if !ok || len(content) == 0 {
			continue // gone since it was listed, or a node between
		}
		instance, err := decodeInstance(name, content)
		if err != nil {
			r.skip(Unread{Node: path.Join(at, node), App: name}, err)
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
// too: below the node of interfaces, as Dubbo's groups are by default. dubbo-go writes
// it as APP/REVISION there, Dubbo Java as metadata/APP/REVISION.
func (r *reading) readDocument(ctx context.Context, i Instance) error {
	r.mu.Lock()
	_, known := r.app(i.App).Offers[i.Revision]
	r.mu.Unlock()
	if known || i.Revision == "" {
		return nil
	}
	for _, at := range []string{path.Join(i.App, i.Revision), path.Join("metadata", i.App, i.Revision)} {
		at = path.Join(r.c.cfg.Interfaces, at)
		content, ok, err := r.content(ctx, at, Unread{App: i.App})
		if err != nil {
			return err
		}
		if !ok || len(content) == 0 {
			continue
		}
		offers, err := registry.DecodeDocument(content)
		if err != nil {
			r.skip(Unread{Node: at, App: i.App}, err)
			return nil
		}
		r.mu.Lock()
		r.app(i.App).Offers[i.Revision] = offers
		r.mu.Unlock()
		return nil
	}
	return nil
}

// children is that of the client, and none of a node that may not be read, which is
// left out as u.
func (r *reading) children(ctx context.Context, node string, u Unread) ([]string, error) {
	names, err := r.c.children(ctx, node)
	return names, r.locked(node, u, err)
}

// content is as children.
func (r *reading) content(ctx context.Context, node string, u Unread) (data []byte, ok bool, err error) {
	data, ok, err = r.c.content(ctx, node)
	return data, ok, r.locked(node, u, err)
}

// locked leaves a node out that may not be read, and returns any other error.
func (r *reading) locked(node string, u Unread, err error) error {
	if registry.CodeOf(err) != registry.Forbidden {
		return err
	}
	u.Node = node
	r.skip(u, err)
	return nil
}

// skip leaves a node out.
func (r *reading) skip(u Unread, err error) {
	u.Reason = "it names no application"
	if err != nil {
		u.Reason = registry.Text(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Unread = append(r.state.Unread, u)
}

// provides returns the interfaces that an application is known to provide.
func (a *AppState) provides() map[string]bool {
	out := map[string]bool{}
	for _, p := range a.Providers {
		out[p.Name] = true
	}
	for _, offers := range a.Offers {
		for _, o := range offers {
			out[o.Name] = true
		}
	}
	return out
}

// plainName is the name of an interface's node without its encoding.
func plainName(node string) string {
	if decoded, err := url.QueryUnescape(node); err == nil {
		return decoded
	}
	return node
}

// attribute gives consumers and rules to the applications that provide what they are
// for.
func (r *reading) attribute() {
	slices.SortFunc(r.state.Unread, func(a, b Unread) int { return strings.Compare(a.Node, b.Node) })
	slices.SortFunc(r.state.Rules, func(a, b Rule) int { return strings.Compare(a.Node, b.Node) })
	mine := map[string]bool{} // nodes of rules that are somebody's
	for name, a := range r.state.Apps {
		provides := a.provides()
		for _, c := range r.consumers {
			if provides[c.Name] {
				a.Consumers = append(a.Consumers, c)
			}
		}
		for _, rule := range r.state.Rules {
			if rule.App == name || rule.Interface != "" && provides[rule.Interface] {
				a.Rules = append(a.Rules, rule)
				mine[rule.Node] = true
			}
		}
	}
	r.state.Rules = slices.DeleteFunc(r.state.Rules, func(rule Rule) bool { return mine[rule.Node] })
}
