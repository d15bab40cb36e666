package zookeeper

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"

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
		branches: map[string]*branch{}, fired: make(chan string, 16), end: ctx.Done(),
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
		again, err := t.reconcile(ctx)
		if err != nil {
			return err
		}
		var due <-chan time.Time
		if !again.IsZero() {
			due = time.After(max(settle, time.Until(again)))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			for _, br := range t.branches {
				br.listed = false
			}
			continue
		case <-due:
			continue
		case iface := <-t.fired:
			t.changed(iface)
		case <-b.dirty:
		}
		if err := t.gather(ctx); err != nil {
			return err
		}
	}
}

// gather waits for changes that come together with one that came.
func (t *term) gather(ctx context.Context) error {
	enough := time.NewTimer(settle)
	defer enough.Stop()
	for {
		select {
		case iface := <-t.fired:
			t.changed(iface)
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
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

	branches map[string]*branch // by interface

	fired    chan string // interfaces that were watched, and have changed
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
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(parallel)
	for _, name := range names {
		iface, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		br := t.branch(iface)
		work.Go(func() error {
			children, err := t.c.children(ctx, path.Join(t.b.cfg.ZooKeeper.Interfaces, name, "providers"))
			if err != nil {
				return br.fails(err)
			}
			br.read(t.b, children)
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	var unread []string
	for iface, br := range t.branches {
		if br.err != nil {
			unread = append(unread, iface)
		} else if len(br.nodes) == 0 {
			delete(t.branches, iface)
		}
	}
	if len(unread) > 0 {
		slices.Sort(unread)
		// They may be somebody else's, so this is no problem of the bridge's by itself.
		t.b.log.Warn("interfaces in ZooKeeper cannot be read; what this bridge has written there before stays until they can",
			slog.Int("interfaces", len(unread)), slog.String("first", unread[0]), slog.Any("error", t.branches[unread[0]].err))
	}
	return nil
}

// branch returns what is known of an interface's providers.
func (t *term) branch(iface string) *branch {
	br := t.branches[iface]
	if br == nil {
		br = &branch{iface: iface, at: t.providersOf(iface)}
		t.branches[iface] = br
	}
	return br
}

// changed notes that an interface's providers are others now.
func (t *term) changed(iface string) {
	if br := t.branches[iface]; br != nil {
		br.listed, br.watched = false, false
	}
}

// reconcile makes ZooKeeper hold what Kubernetes knows. What is known of an interface
// and has not changed takes no request, and those that do are made side by side. An
// interface that cannot be read or written keeps no other from it. again is when to
// come again though nothing changes; zero for never.
func (t *term) reconcile(ctx context.Context) (again time.Time, err error) {
	if there, _, err := t.c.conn.Exists(t.mine); err != nil || !there {
		if err != nil {
			return again, t.c.explain("read", t.mine, err)
		}
		return again, errTakenOver
	}
	want, doubt, unknown := t.b.desired(ctx)
	for iface := range want {
		t.branch(iface)
	}
	now := time.Now()
	work, within := errgroup.WithContext(ctx)
	work.SetLimit(parallel)
	for iface, br := range t.branches {
		if br.err == nil || !now.Before(br.next) {
			work.Go(func() error { return t.attempt(within, br, want[iface], doubt) })
		}
	}
	if err := work.Wait(); err != nil {
		return again, err
	}
	nodes, apps := 0, map[registry.App]bool{}
	var failing []Failing
	for iface, br := range t.branches {
		nodes += len(br.nodes)
		for _, instance := range br.nodes {
			if app, ok := appOf(instance); ok && app.Validate() == nil {
				apps[app] = true
			}
		}
		next := time.Time{}
		switch concerned := len(want[iface])+len(br.nodes) > 0; {
		case br.err != nil:
			next = br.next
			if concerned {
				failing = append(failing, Failing{Interface: iface, Why: registry.Text(br.err), Since: br.since})
			}
		case !concerned:
			if br.watched {
				close(br.ended)
			}
			delete(t.branches, iface)
		case !br.listed && br.there:
			next = now // its watch is to be set
		}
		if !next.IsZero() && (again.IsZero() || next.Before(again)) {
			again = next
		}
	}
	slices.SortFunc(failing, func(a, b Failing) int { return strings.Compare(a.Interface, b.Interface) })
	t.b.fallsShort(failing)
	t.b.wrote(nodes, apps, unknown)
	return again, nil
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
