package zookeeper

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/weirmesh/weir/registry"
)

// place is what tells providers of one interface apart for those who call them.
type place struct {
	registry.Interface
	Address
}

// branch is what a term knows of the providers of one interface in ZooKeeper. One
// goroutine at a time works with it.
type branch struct {
	iface string
	at    string // the node below which they are

	nodes   map[string]string // the bridge's own, to instances
	others  map[place]bool    // what anybody else has written
	outrank map[place]bool    // those of them to whom the bridge yields
	// weightless is set where all whom providers have written themselves have no weight.
	// Other bridges' say nothing: each would wait for the other to have one again.
	weightless map[registry.Interface]bool

	there   bool          // there is such a node
	listed  bool          // the above is as ZooKeeper has it: a change will be told
	watched bool          // its next change will be told
	ended   chan struct{} // closed when nobody waits for that any more

	// Of what keeps it from being read or written; nil for nothing.
	err   error
	told  string // of it, in the log
	since time.Time
	next  time.Time // no attempt before
	delay time.Duration
}

// fails notes what went wrong with an interface, or returns it where it is of the
// session, and so of all of them.
func (br *branch) fails(err error) error {
	if passing(err) || errors.Is(err, errTakenOver) || errors.Is(err, zk.ErrClosing) || errors.Is(err, context.Canceled) || registry.CodeOf(err) == registry.Unavailable {
		return err
	}
	now := time.Now()
	if br.err == nil {
		br.since = now
	}
	br.err, br.listed = err, false
	br.delay = min(max(retry, 2*br.delay), lastRelearn)
	br.next = now.Add(br.delay)
	return nil
}

// attempt makes an interface hold what Kubernetes knows, and tells once where that
// fails.
func (t *term) attempt(ctx context.Context, br *branch, want map[string]provider, doubt func(string) bool) error {
	err := t.reconcileInterface(ctx, br, want, doubt)
	if err == nil {
		if br.told != "" {
			t.b.log.Info("providers of an interface are written into ZooKeeper again", slog.String("interface", br.iface))
		}
		br.err, br.told, br.delay = nil, "", 0
		return nil
	}
	if err := br.fails(err); err != nil {
		return err
	}
	t.b.metrics.failures.Inc()
	if text := registry.Text(err); len(want)+len(br.nodes) > 0 && br.told != text {
		br.told = text
		t.b.log.Warn("providers of an interface cannot be written into ZooKeeper; what is there stays, trying again", slog.String("interface", br.iface), slog.Any("error", err))
	}
	return nil
}

// read notes the names below an interface's providers.
func (br *branch) read(b *Bridge, children []string) {
	br.nodes, br.others, br.outrank = map[string]string{}, map[place]bool{}, map[place]bool{}
	br.weightless = map[registry.Interface]bool{}
	for _, child := range children {
		p, err := decodeProvider(child)
		if err != nil {
			continue
		}
		if p.Bridge == b.cfg.Name {
			br.note(b, child, p.Params[instanceParam])
			continue
		}
		br.others[place{p.Interface, p.Address}] = true
		if all, seen := br.weightless[p.Interface]; p.Bridge == "" {
			br.weightless[p.Interface] = p.weightless() && (all || !seen)
		}
		// Of two bridges that wrote at once only one may yield: if both did, the
		// provider would be on no list, and then on both again.
		if p.Bridge < b.cfg.Name { // as a provider's own does, which names none
			br.outrank[place{p.Interface, p.Address}] = true
		}
	}
}

func (br *branch) note(b *Bridge, node, instance string) {
	br.nodes[node] = instance
	if app, ok := appOf(instance); ok {
		b.found(app)
	}
}

// reconcileInterface writes what is missing below an interface and removes what is
// proven gone, both at once: a consumer that reads in between finds either all of
// the old or all of the new.
func (t *term) reconcileInterface(ctx context.Context, br *branch, want map[string]provider, doubt func(string) bool) error {
	if !br.listed {
		if err := t.list(ctx, br, len(want) > 0); err != nil {
			return err
		}
	}
	want = level(want, br.weightless)
	var create, remove []string
	for _, node := range slices.Sorted(maps.Keys(want)) {
		p := want[node]
		if _, here := br.nodes[node]; here || br.others[place{p.Interface, p.Address}] {
			continue
		}
		// A registry that is out of touch may know somebody who is gone, whom another
		// replica has removed. Its word fills a list that nobody is on, and no other.
		if !p.stale || len(br.nodes)+len(br.others) == 0 {
			create = append(create, node)
		}
	}
	for _, node := range slices.Sorted(maps.Keys(br.nodes)) {
		p, wanted := want[node]
		switch {
		case wanted && !br.outrank[place{p.Interface, p.Address}]:
		case wanted, !doubt(br.nodes[node]):
			// Somebody else has written it, and it would be there twice; or it is gone.
			remove = append(remove, node)
		}
	}
	return t.change(ctx, br, create, remove, want)
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

func (t *term) change(ctx context.Context, br *branch, create, remove []string, want map[string]provider) error {
	if len(create)+len(remove) > 0 {
		br.listed = false // whatever becomes of it
	}
	if len(create) > 0 && !br.there {
		if err := t.make(ctx, br.at); err != nil {
			return err
		}
		br.there = true
	}
	for len(create)+len(remove) > 0 {
		ops := []any{&zk.CheckVersionRequest{Path: t.mine, Version: -1}}
		var made, gone []string
		made, create = take(create)
		for _, node := range made {
			ops = append(ops, &zk.CreateRequest{Path: br.at + "/" + node, Acl: t.acl()})
		}
		// What goes may depend on what comes, so it goes last.
		if len(create) == 0 {
			gone, remove = take(remove)
		}
		for _, node := range gone {
			ops = append(ops, &zk.DeleteRequest{Path: br.at + "/" + node, Version: -1})
		}
		answers, err := t.c.conn.Multi(ops...)
		if err != nil {
			if len(answers) > 0 && answers[0].Error != nil && errors.Is(answers[0].Error, zk.ErrNoNode) {
				return errTakenOver
			}
			return t.c.explain("write", br.at, err)
		}
		for _, node := range made {
			p := want[node]
			br.note(t.b, node, p.instance)
			t.b.metrics.writes.WithLabelValues("written").Inc()
			t.b.log.Info("wrote a provider into ZooKeeper", slog.String("interface", br.iface), slog.String("address", p.Address.String()), slog.String("app", p.App))
		}
		for _, node := range gone {
			delete(br.nodes, node)
			t.b.metrics.writes.WithLabelValues("removed").Inc()
			if p, err := decodeProvider(node); err == nil {
				t.b.log.Info("removed a provider from ZooKeeper", slog.String("interface", br.iface), slog.String("address", p.Address.String()), slog.String("app", p.App))
			}
		}
	}
	return nil
}

// list reads who provides an interface, and has the session woken when that changes
// where anything of it is the bridge's.
func (t *term) list(ctx context.Context, br *branch, wanted bool) error {
	if br.watched || !wanted && len(br.nodes) == 0 {
		children, there, err := t.c.root(ctx, br.at)
		if err != nil {
			return err
		}
		br.there, br.listed = there, there && br.watched
		br.read(t.b, children)
		return nil
	}
	children, _, changed, err := t.c.conn.ChildrenW(br.at)
	if errors.Is(err, zk.ErrNoNode) {
		br.there = false
		br.read(t.b, nil)
		return nil
	}
	if err != nil {
		return t.c.explain("list", br.at, err)
	}
	br.there, br.listed, br.watched, br.ended = true, true, true, make(chan struct{})
	br.read(t.b, children)
	ended := br.ended
	t.watchers.Go(func() {
		select {
		case <-changed:
		case <-ended:
			return
		case <-t.end:
			return
		}
		select {
		case t.fired <- br.iface:
		case <-ended:
		case <-t.end:
		}
	})
	return nil
}
