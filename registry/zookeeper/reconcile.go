package zookeeper

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/registry"
)

// dialPatience bounds the wait for a session, before it is told that there is none.
const dialPatience = 15 * time.Second

// session does the bridge's work in one session with ZooKeeper, until it fails or ctx
// ends.
func (b *Bridge) session(ctx context.Context) error {
	first, done := context.WithTimeout(ctx, dialPatience)
	c, err := Dial(first, b.cfg.ZooKeeper)
	done()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	t := &term{
		b: b, c: c, lock: path.Join(bridgesNode, b.cfg.Name),
		nodes: map[string]map[string]string{}, watched: map[string]chan struct{}{}, fired: make(chan string, 16), end: ctx.Done(),
	}
	defer t.watchers.Wait() // once ctx has ended, which ends them
	defer cancel()
	if err := t.lead(ctx); err != nil {
		return err
	}
	b.log.Info("this process writes applications into ZooKeeper now", slog.String("zookeeper", c.Servers()))
	if err := t.scan(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(b.cfg.Resync)
	defer tick.Stop()
	for {
		if err := t.reconcile(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		case iface := <-t.fired:
			delete(t.watched, iface)
		case <-b.dirty:
			gather := time.NewTimer(settle)
			select {
			case <-gather.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// term is the time for which a process writes. It has a node of its own, which goes
// with its session: each write depends on it, so that a process which does not know
// yet that its session is lost can no longer write.
type term struct {
	b    *Bridge
	c    *Client
	lock string // the node below which those of one name take turns
	mine string // this term's node

	nodes map[string]map[string]string // the bridge's own, by interface, to instances

	watched  map[string]chan struct{} // interfaces whose next change will be told, and what ends the wait for it
	fired    chan string
	watchers sync.WaitGroup
	end      <-chan struct{}
}

// lead waits until no other replica writes, and takes its place.
func (t *term) lead(ctx context.Context) error {
	if err := t.make(ctx, t.lock); err != nil {
		return err
	}
	leader := t.lock + "/leader"
	t.mine = t.lock + "/term-" + rand.Text()
	for {
		_, err := t.c.conn.Multi(
			&zk.CreateRequest{Path: leader, Data: []byte(t.b.cfg.Node), Acl: t.acl(), Flags: zk.FlagEphemeral},
			&zk.CreateRequest{Path: t.mine, Data: []byte(t.b.cfg.Node), Acl: t.acl(), Flags: zk.FlagEphemeral},
		)
		if err == nil {
			return nil
		}
		if !errors.Is(err, zk.ErrNodeExists) {
			return t.c.explain("write", leader, err)
		}
		there, _, gone, err := t.c.conn.ExistsW(leader)
		if err != nil {
			return t.c.explain("read", leader, err)
		}
		t.b.waits()
		if !there {
			continue
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// acl lets everybody at the bridge's nodes, as Dubbo does; where there are
// credentials, everybody who has them.
func (t *term) acl() []zk.ACL {
	if t.b.cfg.ZooKeeper.Auth != "" {
		return zk.AuthACL(zk.PermAll)
	}
	return zk.WorldACL(zk.PermAll)
}

// make makes a node and those above it, unless they are there.
func (t *term) make(_ context.Context, node string) error {
	for i := 1; i <= len(node); i++ {
		if i < len(node) && node[i] != '/' {
			continue
		}
		// Who may write below a node need not be let to make one beside it.
		if there, _, err := t.c.conn.Exists(node[:i]); err == nil && there {
			continue
		}
		if _, err := t.c.conn.Create(node[:i], nil, 0, t.acl()); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return t.c.explain("make", node[:i], err)
		}
	}
	return nil
}

// providersOf is the node below which an interface's providers are.
func (t *term) providersOf(iface string) string {
	return path.Join(t.b.cfg.ZooKeeper.Interfaces, url.QueryEscape(iface), "providers")
}

// scan finds what this bridge wrote in earlier terms.
func (t *term) scan(ctx context.Context) error {
	names, err := t.c.children(ctx, t.b.cfg.ZooKeeper.Interfaces)
	if err != nil {
		return err
	}
	for _, name := range names {
		iface, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		children, err := t.c.children(ctx, path.Join(t.b.cfg.ZooKeeper.Interfaces, name, "providers"))
		if err != nil {
			return err
		}
		for _, child := range children {
			if p, err := decodeProvider(child); err == nil && p.Bridge == t.b.cfg.Name {
				t.note(iface, child, p.Params[instanceParam])
			}
		}
	}
	return nil
}

func (t *term) note(iface, node, instance string) {
	if t.nodes[iface] == nil {
		t.nodes[iface] = map[string]string{}
	}
	t.nodes[iface][node] = instance
	if app, ok := appOf(instance); ok {
		t.b.found(app)
	}
}

// reconcile makes ZooKeeper hold what Kubernetes knows.
func (t *term) reconcile(ctx context.Context) error {
	if there, _, err := t.c.conn.Exists(t.mine); err != nil || !there {
		if err != nil {
			return t.c.explain("read", t.mine, err)
		}
		return errTakenOver
	}
	want, doubt, unknown := t.b.desired(ctx)
	interfaces := map[string]bool{}
	for iface := range want {
		interfaces[iface] = true
	}
	for iface := range t.nodes {
		interfaces[iface] = true
	}
	nodes, apps := 0, map[registry.App]bool{}
	for _, iface := range slices.Sorted(maps.Keys(interfaces)) {
		if err := t.reconcileInterface(ctx, iface, want[iface], doubt); err != nil {
			return err
		}
		nodes += len(t.nodes[iface])
		for _, instance := range t.nodes[iface] {
			if app, ok := appOf(instance); ok && app.Validate() == nil {
				apps[app] = true
			}
		}
	}
	for iface, ended := range t.watched {
		if !interfaces[iface] {
			close(ended)
			delete(t.watched, iface)
		}
	}
	t.b.wrote(nodes, apps, unknown)
	return nil
}

// desired returns the nodes that are to be there, by interface and name; a function
// that tells whether what is known of an instance is not enough to remove what is not
// among them; and whose instances are not, since nobody says what they offer.
func (b *Bridge) desired(ctx context.Context) (want map[string]map[string]provider, doubt func(instance string) bool, unknown []Unknown) {
	b.mu.Lock()
	apps := slices.SortedFunc(maps.Keys(b.followed), registry.App.Compare)
	b.mu.Unlock()
	want = map[string]map[string]provider{}
	fresh := map[string]bool{}    // applications of which all is known now
	doubtful := map[string]bool{} // instances of them of which it is not
	for _, app := range apps {
		s, known := b.snapshot(ctx, app)
		if !known {
			continue
		}
		fresh[app.String()] = s.StaleSince.IsZero()
		lacking := Unknown{App: app}
		for i := range s.Instances {
			in := &s.Instances[i]
			if !in.Callable() || !b.speaks(in) {
				continue
			}
			o := b.document(app, in)
			if !o.known() {
				doubtful[app.String()+"/"+in.ID] = true
				if in.Registered() { // else it says nothing of Dubbo
					lacking.Instances++
					lacking.Why = o.why()
				}
				continue
			}
			for _, p := range o.providers(b.cfg.Name, app, in, b.cfg.Protocols) {
				p.stale = !s.StaleSince.IsZero()
				if want[p.Name] == nil {
					want[p.Name] = map[string]provider{}
				}
				want[p.Name][p.node()] = p
			}
		}
		if lacking.Instances > 0 {
			unknown = append(unknown, lacking)
		}
	}
	return want, func(instance string) bool {
		if doubtful[instance] {
			return true
		}
		app, ok := appOf(instance)
		if !ok {
			return false // none that this bridge writes now
		}
		if !b.cfg.selects(app) {
			return false // nobody asks for the application any more
		}
		return !fresh[app.String()] // not known yet, or out of touch
	}, unknown
}

// appOf returns the application of an instance that a node names.
func appOf(instance string) (registry.App, bool) {
	name, _, ok := cutLast(instance, '/')
	namespace, bare, _ := strings.Cut(name, "/")
	return registry.App{Namespace: namespace, Name: bare}, ok
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	if i := strings.LastIndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// place is what tells providers of one interface apart for those who call them.
type place struct {
	registry.Interface
	Address
}

// reconcileInterface writes what is missing below an interface and removes what is
// proven gone, both at once: a consumer that reads in between finds either all of
// the old or all of the new.
func (t *term) reconcileInterface(ctx context.Context, iface string, want map[string]provider, doubt func(string) bool) error {
	at := t.providersOf(iface)
	children, err := t.list(ctx, iface, at)
	if err != nil {
		return err
	}
	here := map[string]bool{}   // the bridge's own
	others := map[place]bool{}  // what anybody else has written
	outrank := map[place]bool{} // those of them to whom the bridge yields
	// Where all whom providers have written themselves have no weight. Other bridges'
	// say nothing: each would wait for the other to have one again.
	weightless := map[registry.Interface]bool{}
	delete(t.nodes, iface)
	for _, child := range children {
		p, err := decodeProvider(child)
		if err != nil {
			continue
		}
		if p.Bridge != t.b.cfg.Name {
			others[place{p.Interface, p.Address}] = true
			if all, seen := weightless[p.Interface]; p.Bridge == "" {
				weightless[p.Interface] = p.weightless() && (all || !seen)
			}
			// Of two bridges that wrote at once only one may yield: if both did, the
			// provider would be on no list, and then on both again.
			if p.Bridge < t.b.cfg.Name { // as a provider's own does, which names none
				outrank[place{p.Interface, p.Address}] = true
			}
			continue
		}
		here[child] = true
		t.note(iface, child, p.Params[instanceParam])
	}
	want = level(want, weightless)
	var create, remove []string
	for _, node := range slices.Sorted(maps.Keys(want)) {
		p := want[node]
		if here[node] || others[place{p.Interface, p.Address}] {
			continue
		}
		// A registry that is out of touch may know somebody who is gone, whom another
		// replica has removed. Its word fills a list that nobody is on, and no other.
		if !p.stale || len(here)+len(others) == 0 {
			create = append(create, node)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(here)) {
		p, wanted := want[node]
		switch {
		case wanted && !outrank[place{p.Interface, p.Address}]:
		case wanted, !doubt(t.nodes[iface][node]):
			// Somebody else has written it, and it would be there twice; or it is gone.
			remove = append(remove, node)
		}
	}
	return t.change(ctx, iface, at, create, remove, want)
}

// batch and batchBytes bound what is written, and what is removed, in one transaction,
// of which ZooKeeper takes 1 MB.
const (
	batch      = 100
	batchBytes = 256 << 10
)

// take cuts as many nodes off a list as one transaction takes.
func take(nodes []string) (now, later []string) {
	size := 0
	for n, node := range nodes {
		if size += len(node); n == batch || n > 0 && size > batchBytes {
			return nodes[:n], nodes[n:]
		}
	}
	return nodes, nil
}

var errTakenOver = errors.New("its session with ZooKeeper was lost, and another replica may write now")

func (t *term) change(ctx context.Context, iface, at string, create, remove []string, want map[string]provider) error {
	if len(create) > 0 {
		if err := t.make(ctx, at); err != nil {
			return err
		}
	}
	for len(create)+len(remove) > 0 {
		ops := []any{&zk.CheckVersionRequest{Path: t.mine, Version: -1}}
		var made, gone []string
		made, create = take(create)
		for _, node := range made {
			ops = append(ops, &zk.CreateRequest{Path: at + "/" + node, Acl: t.acl()})
		}
		// What goes may depend on what comes, so it goes last.
		if len(create) == 0 {
			gone, remove = take(remove)
		}
		for _, node := range gone {
			ops = append(ops, &zk.DeleteRequest{Path: at + "/" + node, Version: -1})
		}
		answers, err := t.c.conn.Multi(ops...)
		if err != nil {
			if len(answers) > 0 && answers[0].Error != nil && errors.Is(answers[0].Error, zk.ErrNoNode) {
				return errTakenOver
			}
			return fmt.Errorf("write providers of %s into ZooKeeper: %w", iface, err)
		}
		for _, node := range made {
			p := want[node]
			t.note(iface, node, p.instance)
			t.b.metrics.writes.WithLabelValues("written").Inc()
			t.b.log.Info("wrote a provider into ZooKeeper", slog.String("interface", iface), slog.String("address", p.Address.String()), slog.String("app", p.App))
		}
		for _, node := range gone {
			delete(t.nodes[iface], node)
			t.b.metrics.writes.WithLabelValues("removed").Inc()
			if p, err := decodeProvider(node); err == nil {
				t.b.log.Info("removed a provider from ZooKeeper", slog.String("interface", iface), slog.String("address", p.Address.String()), slog.String("app", p.App))
			}
		}
	}
	if len(t.nodes[iface]) == 0 {
		delete(t.nodes, iface)
	}
	return nil
}

// list returns the names below an interface's providers, and has the session woken
// when they change.
func (t *term) list(ctx context.Context, iface, at string) ([]string, error) {
	if t.watched[iface] != nil {
		return t.c.children(ctx, at)
	}
	children, _, changed, err := t.c.conn.ChildrenW(at)
	if errors.Is(err, zk.ErrNoNode) {
		return nil, nil
	}
	if err != nil {
		return nil, t.c.explain("list", at, err)
	}
	ended := make(chan struct{})
	t.watched[iface] = ended
	t.watchers.Go(func() {
		select {
		case <-changed:
		case <-ended:
			return
		case <-t.end:
			return
		}
		select {
		case t.fired <- iface:
		case <-ended:
		case <-t.end:
		}
	})
	return children, nil
}
