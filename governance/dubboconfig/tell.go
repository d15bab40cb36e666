package dubboconfig

import (
	"context"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

const (
	// storePatience bounds what is asked of the store.
	storePatience = 10 * time.Second
	// retry is how long after a failure it is asked again.
	retry = time.Second
	// gather is how long those that have something to tell are waited for.
	gather = 10 * time.Millisecond
)

// tell tells the store of instances: those of which something has changed at once,
// and all that live now and then.
func (s *Service) tell(ctx context.Context) {
	tick := time.NewTicker(governance.InstanceSeen)
	defer tick.Stop()
	failing := false
	for {
		all := false
		select {
		case <-s.stirred:
			if !pause.For(ctx, gather) {
				return
			}
		case <-tick.C:
			all = true
		case <-ctx.Done():
			return
		}
		err := s.put(ctx, all)
		if err != nil {
			if !failing && ctx.Err() == nil {
				s.log.WarnContext(ctx, "which Dubbo Java instances live cannot be written; trying again", "error", err)
			}
			notify(s.stirred)
			pause.For(ctx, retry)
		}
		failing = err != nil
	}
}

func (s *Service) put(ctx context.Context, all bool) error {
	s.mu.Lock()
	left := s.leaving
	out, told := s.instances(all)
	s.mu.Unlock()
	if len(out) == 0 {
		return nil
	}
	look, done := context.WithTimeout(ctx, storePatience)
	defer done()
	err := s.cfg.Store.PutInstances(look, out...)
	if err != nil {
		s.mu.Lock()
		for _, c := range told {
			c.dirty = true
		}
		s.leaveAgain(left)
		s.mu.Unlock()
	}
	return err
}

// leaveAgain puts back those who left, of whom the store could not be told, but for
// those who have come back. s.mu is held.
func (s *Service) leaveAgain(left []governance.Instance) {
	back := map[key]bool{}
	for _, c := range s.clients {
		if c.tellable() {
			back[key{c.place.app, c.place.id}] = true
		}
	}
	left = slices.DeleteFunc(left, func(i governance.Instance) bool { return back[key{i.App, i.ID}] })
	s.leaving = append(left, s.leaving...)
	s.leaving = s.leaving[:min(len(s.leaving), s.cfg.MaxClients)]
}

// key tells instances apart.
type key struct {
	app governance.App
	id  string
}

// instances are those of clients of which something has changed, or of all. A process
// may hold several connections: its word is that of the one that is furthest behind.
// s.mu is held.
func (s *Service) instances(all bool) (out []governance.Instance, told []*client) {
	now := s.cfg.Now()
	out, s.leaving = s.leaving, nil
	wanted := map[key]bool{}
	for _, c := range s.clients {
		if c.tellable() && (all || c.dirty) {
			wanted[key{c.place.app, c.place.id}] = true
		}
	}
	found := map[key]*governance.Instance{}
	for _, c := range s.clients {
		k := key{c.place.app, c.place.id}
		if !c.tellable() || !wanted[k] {
			continue
		}
		if c.dirty {
			c.dirty, told = false, append(told, c)
		}
		i := found[k]
		if i == nil {
			found[k] = &governance.Instance{
				App: c.place.app, ID: c.place.id, Name: c.place.name, SDK: sdkName, Calls: c.calls, Seen: now,
				Applied: c.applied, AppliedAt: c.appliedAt, Beside: c.place.beside,
			}
			continue
		}
		i.Calls = slices.Concat(i.Calls, c.calls)
		if c.applied == nil || i.Applied != nil && c.applied.Version < i.Applied.Version {
			i.Applied, i.AppliedAt = c.applied, c.appliedAt
		}
	}
	for _, i := range found {
		slices.SortFunc(i.Calls, governance.App.Compare)
		i.Calls = slices.Compact(i.Calls)
		if i.Applied == nil {
			i.AppliedAt = time.Time{}
		}
		out = append(out, *i)
	}
	s.metrics.instances.Set(float64(s.count()))
	return out, told
}

// sdkName is what stands for an SDK of instances that have none; those that
// governance/agentless reads metrics of are called the same.
const sdkName = "dubbo-java"

// tellable reports whether a client is known to be an instance.
func (c *client) tellable() bool {
	return c.listens && c.place.id != ""
}

// count is how many instances there are. s.mu is held.
func (s *Service) count() int {
	all := map[key]struct{}{}
	for _, c := range s.clients {
		if c.tellable() {
			all[key{c.place.app, c.place.id}] = struct{}{}
		}
	}
	return len(all)
}

// left notes that a client's connection has ended. An instance of which that was
// the last one counts a little longer, as it may connect anew. s.mu is held.
func (s *Service) left(c *client) {
	if !c.tellable() {
		return
	}
	k := key{c.place.app, c.place.id}
	for _, other := range s.clients {
		if other.tellable() && (key{other.place.app, other.place.id}) == k {
			s.stir(other) // what it confirmed may be more
			return
		}
	}
	if len(s.leaving) < s.cfg.MaxClients {
		s.leaving = append(s.leaving, governance.Instance{
			App: c.place.app, ID: c.place.id, Name: c.place.name, SDK: sdkName, Calls: c.calls, Beside: c.place.beside,
			Seen: s.cfg.Now().Add(governance.InstanceLeaving - governance.InstanceGone), Applied: c.applied, AppliedAt: c.appliedAt,
		})
	}
	notify(s.stirred)
}
