package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

// hub keeps all policies in memory and, for each group of instances that have to
// enforce the same, the message that tells them. A group is computed once for
// each change that touches it, whatever the number of its streams, and groups
// with equal content share one message.
type hub struct {
	store    governance.Store
	now      func() time.Time
	coalesce time.Duration
	metrics  *metrics

	mu       sync.Mutex
	version  int64 // of what is published; -1 before the first
	policies map[governance.Key]governance.Version
	byTarget map[governance.App]map[governance.Key]struct{}
	groups   map[string]*group
	byApp    map[governance.App]map[*group]struct{} // by all that a group is about
	messages map[string]*message                    // by hash, while a group has it
	streams  int
	empty    chan struct{} // closed while there are no streams

	published chan struct{} // closed and replaced with each publication
	recent    []governance.Version
}

// group are the instances of an application that call the same others.
type group struct {
	key     string
	app     governance.App
	calls   []governance.App
	current *message
	streams map[*subscriber]struct{}
}

// message is a policy set, encoded but for what differs from one sending to the
// next: the version of the whole, and the time.
type message struct {
	hash  string
	body  []byte // from "policies" to the end
	users int    // groups
}

// subscriber is one stream's place in its group.
type subscriber struct {
	wake  chan struct{} // holds one token
	group *group        // guarded by the hub's mutex
}

func newHub(c Config, m *metrics) *hub {
	empty := make(chan struct{})
	close(empty)
	return &hub{
		store: c.Store, now: c.Now, coalesce: c.Coalesce, metrics: m, version: -1,
		policies: map[governance.Key]governance.Version{}, byTarget: map[governance.App]map[governance.Key]struct{}{},
		groups: map[string]*group{}, byApp: map[governance.App]map[*group]struct{}{}, messages: map[string]*message{},
		empty: empty, published: make(chan struct{}),
	}
}

// run follows the store until ctx ends or its watch fails.
func (h *hub) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	wake := make(chan struct{}, 1)
	watched := make(chan error, 1)
	go func() {
		watched <- h.store.Watch(ctx, func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { cancel(); <-watched }()

	var (
		gathered []governance.Version
		to       int64
		last     time.Time
		timer    = time.NewTimer(time.Hour)
		reset    bool
	)
	timer.Stop()
	defer timer.Stop()
	publish := func() {
		h.publish(gathered, to, reset)
		gathered, reset, last = nil, false, time.Now()
	}
	from := max(h.at(), 0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-watched:
			watched <- err // for the deferred wait
			return err
		case <-timer.C:
			publish()
		case <-wake:
			look, done := context.WithTimeout(ctx, storePatience)
			changed, now, err := h.store.Since(look, from)
			done()
			if err == nil && now < from {
				// The store went back. What is there now, all of it, is what counts.
				changed, now, err = h.everything(ctx)
				gathered, reset = nil, true
			}
			if err != nil {
				return err
			}
			if now == from && len(changed) == 0 && h.at() >= 0 && !reset {
				continue
			}
			token(wake) // there may be more: a store answers in parts
			from, to = now, now
			gathered = append(gathered, changed...)
			if h.at() < 0 && len(changed) > 0 {
				continue // the first time it is all, or nothing
			}
			wait := h.coalesce - time.Since(last)
			if h.at() < 0 || wait <= 0 || h.urgent(changed) {
				timer.Stop()
				publish()
			} else {
				timer.Reset(wait)
			}
		}
	}
}

// everything returns all there is.
func (h *hub) everything(ctx context.Context) (all []governance.Version, at int64, err error) {
	for {
		part, to, err := h.store.Since(ctx, at)
		if err != nil || to == at {
			return all, at, err
		}
		all, at = append(all, part...), to
	}
}

func (h *hub) at() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.version
}

func (h *hub) loaded() bool { return h.at() >= 0 }

// urgent reports whether a switch is pulled, changed or released.
func (h *hub) urgent(changed []governance.Version) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(changed, func(v governance.Version) bool {
		return v.Policy.Kind == governance.KindSwitch || h.policies[v.Policy.Key()].Policy.Kind == governance.KindSwitch
	})
}

// publish takes changes in and wakes the streams that they concern.
func (h *hub) publish(changed []governance.Version, version int64, reset bool) {
	begin := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.version < 0
	touched := map[governance.App]struct{}{}
	touch := func(v governance.Version) { touched[v.Policy.Target.App] = struct{}{} }
	if reset {
		for _, v := range h.policies {
			touch(v)
		}
		clear(h.policies)
		clear(h.byTarget)
		h.recent = nil
	}
	for _, v := range changed {
		key := v.Policy.Key()
		if old, ok := h.policies[key]; ok {
			touch(old)
			delete(h.byTarget[old.Policy.Target.App], key)
			delete(h.policies, key)
		}
		touch(v)
		if !v.Deleted {
			h.policies[key] = v
			at := h.byTarget[v.Policy.Target.App]
			if at == nil {
				at = map[governance.Key]struct{}{}
				h.byTarget[v.Policy.Target.App] = at
			}
			at[key] = struct{}{}
		}
		if h.now().Sub(v.Created) < confirmFor {
			h.recent = append(h.recent, v)
		}
	}
	h.version = version
	seen := map[*group]struct{}{}
	for app := range touched {
		for g := range h.byApp[app] {
			if _, done := seen[g]; !done {
				seen[g] = struct{}{}
				h.refresh(g)
			}
		}
	}
	close(h.published)
	h.published = make(chan struct{})
	h.metrics.version.Set(float64(version))
	if !first {
		h.metrics.publish.Observe(time.Since(begin).Seconds())
	}
}

// refresh computes what a group has to enforce and wakes its streams if that is
// another set than before. h.mu is held.
func (h *hub) refresh(g *group) {
	m := h.compute(g.app, g.calls)
	if old := g.current; old != nil {
		if old == m {
			return
		}
		if old.users--; old.users == 0 {
			delete(h.messages, old.hash)
		}
	}
	m.users++
	h.messages[m.hash] = m
	g.current = m
	for s := range g.streams {
		s.notify()
	}
}

func (s *subscriber) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// compute returns the message for a group, the shared one if there is one.
func (h *hub) compute(app governance.App, calls []governance.App) *message {
	set := h.set(app, calls)
	hash := governance.HashPolicies(set)
	if m := h.messages[hash]; m != nil {
		return m
	}
	if set == nil {
		set = []governance.Version{}
	}
	body, err := json.Marshal(set)
	if err != nil {
		panic(fmt.Sprintf("governance/api: policies that came from the store are no JSON: %v", err))
	}
	return &message{hash: hash, body: body}
}

// set returns what instances of app have to enforce. h.mu is held.
func (h *hub) set(app governance.App, calls []governance.App) []governance.Version {
	var near []governance.Version
	seen := false
	for _, target := range calls {
		seen = seen || target == app
		for key := range h.byTarget[target] {
			near = append(near, h.policies[key])
		}
	}
	if !seen {
		for key := range h.byTarget[app] {
			near = append(near, h.policies[key])
		}
	}
	return governance.ForInstance(near, app, calls)
}

// tidyCalls returns applications sorted, each once.
func tidyCalls(calls []governance.App) []governance.App {
	calls = slices.Clone(calls)
	slices.SortFunc(calls, governance.App.Compare)
	return slices.Compact(calls)
}

func groupKey(app governance.App, calls []governance.App) string {
	var b strings.Builder
	b.WriteString(app.String())
	for _, c := range calls {
		b.WriteByte(' ')
		b.WriteString(c.String())
	}
	return b.String()
}

// group returns the group of instances that call the given others, which must be
// tidy. h.mu is held.
func (h *hub) group(app governance.App, calls []governance.App) *group {
	key := groupKey(app, calls)
	if g := h.groups[key]; g != nil {
		return g
	}
	g := &group{key: key, app: app, calls: calls, streams: map[*subscriber]struct{}{}}
	h.groups[key] = g
	for _, about := range append([]governance.App{app}, calls...) {
		if h.byApp[about] == nil {
			h.byApp[about] = map[*group]struct{}{}
		}
		h.byApp[about][g] = struct{}{}
	}
	h.refresh(g)
	return g
}

// leave takes a stream out of its group, and the group away with its last one.
// h.mu is held.
func (h *hub) leave(s *subscriber) {
	g := s.group
	delete(g.streams, s)
	if len(g.streams) > 0 {
		return
	}
	delete(h.groups, g.key)
	for _, about := range append([]governance.App{g.app}, g.calls...) {
		delete(h.byApp[about], g)
		if len(h.byApp[about]) == 0 {
			delete(h.byApp, about)
		}
	}
	if g.current.users--; g.current.users == 0 {
		delete(h.messages, g.current.hash)
	}
}

// subscribe adds a stream, unless there are too many, or the policies have not
// been read.
func (h *hub) subscribe(app governance.App, calls []governance.App, most int) (s *subscriber, full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.version < 0 {
		return nil, false
	}
	if h.streams >= most {
		return nil, true
	}
	if h.streams == 0 {
		h.empty = make(chan struct{})
	}
	h.streams++
	s = &subscriber{wake: make(chan struct{}, 1)}
	s.group = h.group(app, tidyCalls(calls))
	s.group.streams[s] = struct{}{}
	return s, false
}

// move gives a stream the calls that its instance makes now.
func (h *hub) move(s *subscriber, calls []governance.App) {
	calls = tidyCalls(calls)
	h.mu.Lock()
	defer h.mu.Unlock()
	if groupKey(s.group.app, calls) == s.group.key {
		return
	}
	to := h.group(s.group.app, calls)
	to.streams[s] = struct{}{}
	h.leave(s)
	s.group = to
	s.notify()
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leave(s)
	if h.streams--; h.streams == 0 {
		close(h.empty)
	}
}

// current returns what a stream's instance is to have now.
func (h *hub) current(s *subscriber) (*message, int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.group.current, h.version
}

// wanted returns what an instance is to have, which need not hold a stream here.
func (h *hub) wanted(app governance.App, calls []governance.App) governance.ReportAnswer {
	calls = tidyCalls(calls)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.version < 0 {
		return governance.ReportAnswer{}
	}
	if g := h.groups[groupKey(app, calls)]; g != nil {
		return governance.ReportAnswer{Version: h.version, Hash: g.current.hash}
	}
	return governance.ReportAnswer{Version: h.version, Hash: governance.HashPolicies(h.set(app, calls))}
}

// snapshot returns all policies that are published, deleted ones left out.
func (h *hub) snapshot() []governance.Version {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]governance.Version, 0, len(h.policies))
	for _, v := range h.policies {
		out = append(out, v)
	}
	return out
}

func (h *hub) expired(before time.Time) (out []governance.Version) {
	for _, v := range h.snapshot() {
		if e := v.Policy.Expires; !e.IsZero() && e.Before(before) {
			out = append(out, v)
		}
	}
	return out
}

// confirmFor is how long after a change the word of all is waited for.
const confirmFor = 10 * time.Minute

// unconfirmed returns changes of late.
func (h *hub) unconfirmed() []governance.Version {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.recent = slices.DeleteFunc(h.recent, func(v governance.Version) bool { return now.Sub(v.Created) >= confirmFor })
	return slices.Clone(h.recent)
}

func (h *hub) confirmed(version int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent = slices.DeleteFunc(h.recent, func(v governance.Version) bool { return v.Version == version })
}

// reached waits until what is published is at least a version.
func (h *hub) reached(ctx context.Context, version int64) bool {
	for {
		h.mu.Lock()
		at, next := h.version, h.published
		h.mu.Unlock()
		if at >= version {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}

// wait returns when there are no streams.
func (h *hub) wait(ctx context.Context) error {
	h.mu.Lock()
	empty := h.empty
	h.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
