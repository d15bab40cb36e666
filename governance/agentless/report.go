package agentless

import (
	"context"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

const (
	// tellEvery is how often what sessions have is stored.
	tellEvery = 500 * time.Millisecond
	// maxPending bounds the samples that wait for the store, of all pods together, and
	// leastPending what each may have at least.
	maxPending   = 400_000
	leastPending = 1000
)

// tell stores what sessions have gathered, and says that their instances live.
func (s *Service) tell(ctx context.Context) {
	failing := false
	var said time.Time
	for pause.For(ctx, tellEvery) {
		now := s.cfg.Now()
		s.mu.Lock()
		sessions := make([]*session, 0, len(s.sessions))
		for _, n := range s.sessions {
			sessions = append(sessions, n)
		}
		// After a silence of the store somebody else may have taken over what is here:
		// first it is asked who collects.
		mine := now.Sub(s.members.beaten) < memberGone/2
		var all []governance.Instance
		every := now.Sub(said) >= governance.InstanceSeen
		if every {
			for _, i := range s.turned {
				i.Seen = now
				all = append(all, i)
			}
		}
		s.mu.Unlock()
		if !mine {
			continue
		}
		err := s.tellInstances(ctx, sessions, all, every, now)
		if err == nil && every {
			said = now
		}
		if e := s.tellReports(ctx, sessions); err == nil {
			err = e
		}
		if e := s.tellDrifts(ctx, sessions); err == nil {
			err = e
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.WarnContext(ctx, "what pods count cannot be stored, and waits", "error", err)
		}
		failing = err != nil
	}
}

// tellInstances writes those whose word has changed, or all.
func (s *Service) tellInstances(ctx context.Context, sessions []*session, all []governance.Instance, every bool, now time.Time) error {
	var told []*session
	for _, n := range sessions {
		if i, ok := n.instance(every, now); ok {
			all, told = append(all, i), append(told, n)
		}
	}
	if len(all) == 0 {
		return nil
	}
	look, done := context.WithTimeout(ctx, 3*storePatience)
	defer done()
	err := s.cfg.Store.PutInstances(look, all...)
	if err != nil {
		for _, n := range told {
			n.untold()
		}
	}
	return err
}

// tellReports appends what pods counted, a few at a time side by side, which the
// store takes in few transactions.
func (s *Service) tellReports(ctx context.Context, sessions []*session) error {
	const atOnce = 64
	slots := make(chan struct{}, atOnce)
	failed := make(chan error, len(sessions))
	count := 0
	for _, n := range sessions {
		if !n.pending() {
			continue
		}
		count++
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			failed <- n.append(ctx)
		}()
	}
	var first error
	for range count {
		if err := <-failed; first == nil {
			first = err
		}
	}
	return first
}

// tellDrifts records what somebody else changed.
func (s *Service) tellDrifts(ctx context.Context, sessions []*session) error {
	var all []governance.Event
	count := make([]int, len(sessions))
	for i, n := range sessions {
		n.mu.Lock()
		all, count[i] = append(all, n.drifts...), len(n.drifts)
		n.mu.Unlock()
	}
	if len(all) == 0 {
		return nil
	}
	look, done := context.WithTimeout(ctx, 3*storePatience)
	defer done()
	if err := s.cfg.Store.Record(look, all...); err != nil && governance.CodeOf(err) == governance.Unavailable {
		return err
	}
	for i, n := range sessions {
		n.mu.Lock()
		n.drifts = slices.Delete(n.drifts, 0, count[i])
		n.mu.Unlock()
	}
	return nil
}

// outbox is what one session has to tell, in order.
type outbox struct {
	samples     []governance.Sample
	transitions []governance.Transition
	seq         int64
	unsent      *governance.Report // that the store may or may not have
	dropped     int64
}

// put adds what was counted. What there is no room for is given up, the oldest
// first.
func (o *outbox) put(samples []governance.Sample, transitions []governance.Transition, room int) (dropped int) {
	o.samples = append(o.samples, samples...)
	if over := len(o.samples) - room; over > 0 {
		o.samples = slices.Delete(o.samples, 0, over)
		o.samples[0].Lossy = true
		o.dropped += int64(over)
		dropped = over
	}
	o.transitions = append(o.transitions, transitions...)
	if over := len(o.transitions) - governance.MaxTransitions; over > 0 {
		o.transitions = slices.Delete(o.transitions, 0, over)
	}
	return dropped
}

func (o *outbox) empty() bool {
	return o.unsent == nil && len(o.samples)+len(o.transitions) == 0
}

// take returns the next report, the one that was not told last time if there is
// one: told again, it counts once. Reports are numbered by the clock, so that
// those of the next control plane come after these.
func (o *outbox) take(app governance.App, instance, name, boot string, now time.Time) *governance.Report {
	if o.unsent == nil && len(o.samples)+len(o.transitions) > 0 {
		o.seq = max(o.seq+1, now.UnixMilli())
		n := min(len(o.samples), governance.MaxSamples)
		o.unsent = &governance.Report{
			Wire: governance.WireVersion, App: app, Instance: instance, Name: name, Boot: boot, Seq: o.seq, Sent: now,
			Samples: slices.Clone(o.samples[:n]), Transitions: o.transitions, Dropped: map[string]int64{},
		}
		if o.dropped > 0 {
			o.unsent.Dropped["samples"] = o.dropped
		}
		o.samples, o.transitions = slices.Delete(o.samples, 0, n), nil
	}
	return o.unsent
}
