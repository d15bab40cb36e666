package agentless

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

const (
	// firstPause and lastPause are between attempts to reach a pod.
	firstPause = 500 * time.Millisecond
	lastPause  = 10 * time.Second
	// maxCommands bounds the commands of one pod that are collected.
	maxCommands = 5000
)

// session is one pod: what it counts, and what is applied to it.
type session struct {
	svc      *Service
	at       registry.App
	app      governance.App
	id, name string
	end      context.CancelFunc
	wait     bool          // another control plane may still have it
	kick     chan struct{} // holds one token: there may be something to apply

	mu      sync.Mutex
	service registry.Service
	host    registry.Instance
	pod     registry.Pod // as it was seen last
	boot    string       // the process that the rest is of

	engine engine                      // of that process; nil before it was reached first
	guards bool                        // it had an actuator with something to govern
	states map[string]governance.State // as they were told last
	// owned are those that a policy had brought into the state they were told to be in
	// before this control plane took the pod over.
	owned  map[string]governance.State
	beyond int // commands for which there is no room
	out    outbox

	taken *taken // what the process has read of its ConfigMap; nil for not known
	blind bool   // it cannot be told to read it again

	lacks   []string // of the pod's management, as it was seen last
	trouble string   // why it is not heard now
	reason  string   // why what is wanted is not applied now
	applied *governance.Applied
	since   time.Time // when that was said first
	changed bool      // since it was told

	// drifts are events that have yet to be stored, and drifted is when the last was
	// made.
	drifts      []governance.Event
	drifted     time.Time
	driftReason string // the reason as the last of them gave it
}

// engine is what guards or counts calls in one process, as far as it is seen and
// changed by a management port: Hystrix (hystrix.go), Resilience4j (resilience.go), or
// Dubbo, which is only seen (dubbo.go). It has
// its session's mutex for its own, and outlives connections.
type engine interface {
	// name is what instances are said to run, where one with an SDK names that.
	name() string
	// reached begins with a management port that was found, and says what stands in
	// the way there, in sentences; the session's mutex is held.
	reached(m *management) (lacks []string)
	// collect reads what the pod counts until that ends, or ctx does.
	collect(ctx context.Context, m *management) error
	// settle does one step to what policies wish, and returns when to look again.
	settle(ctx context.Context, m *management) time.Duration
	// asOf is since when what is said of policies is true, if it is said now; the
	// session's mutex is held.
	asOf(now time.Time) time.Time
}

// newEngine is for a process whose port has what m says.
func newEngine(n *session, m *management) engine {
	switch {
	case m.metrics != "":
		return newDubbo(n)
	case m.stream == "" && m.circuits != "":
		return newResilience(n)
	}
	return newHystrix(n)
}

func newSession(s *Service, app registry.App, service registry.Service, in registry.Instance, end context.CancelFunc) *session {
	return &session{
		svc: s, at: app, app: governance.App{Namespace: app.Namespace, Name: app.Name}, id: in.ID, name: in.Name, end: end,
		kick: make(chan struct{}, 1), service: service, host: in, changed: true, states: map[string]governance.State{}, owned: map[string]governance.State{},
	}
}

// renew takes in what the registry says now.
func (n *session) renew(service registry.Service, in registry.Instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if before, now := n.service.Govern, service.Govern; before != nil && now != nil && before.Problem != now.Problem {
		n.changed = true
	}
	n.service, n.host = service, in
}

// run keeps the pod until ctx ends.
func (n *session) run(ctx context.Context) {
	defer n.end()
	if n.wait && !pause.For(ctx, settling) {
		return
	}
	n.recall(ctx)
	delay := firstPause
	for ctx.Err() == nil {
		begin := time.Now()
		err := n.once(ctx)
		if ctx.Err() != nil {
			return
		}
		n.broke(err)
		if time.Since(begin) > time.Minute {
			delay = firstPause
		}
		if !pause.For(ctx, delay/2+rand.N(delay)) {
			return
		}
		delay = min(delay*2, lastPause)
	}
}

// recall reads in which state the pod's circuits were told to be.
func (n *session) recall(ctx context.Context) {
	if !n.svc.acquire(ctx) {
		return
	}
	defer n.svc.release()
	look, done := context.WithTimeout(ctx, 3*storePatience)
	defer done()
	all, _, err := n.svc.cfg.Store.Circuits(look, n.app)
	if err != nil {
		return // what is open is told anew
	}
	held := governance.EventQuery{App: n.app, Instance: n.id, Kinds: []string{governance.EventTransition}, Limit: maxRecalled}
	n.mu.Lock()
	for i := range all {
		c := &all[i]
		if c.Instance != n.id || c.At != governance.Provider {
			continue
		}
		n.states[c.Command] = c.State
		if c.State != governance.StateOpen && c.State != governance.StateHalfOpen && c.State != governance.StateClosed && (held.From.IsZero() || c.Time.Before(held.From)) {
			held.From = c.Time
		}
	}
	n.mu.Unlock()
	if held.From.IsZero() {
		return
	}
	events, err := n.svc.cfg.Store.Events(look, held)
	if err != nil {
		return // what is held is taken for somebody else's
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	told := map[string]bool{}
	for i := range events { // the newest first
		e := &events[i]
		if t := e.Transition; t != nil && t.At == governance.Provider && !told[t.Command] {
			told[t.Command] = true
			if cmp.Or(t.Policy, e.Policy) != "" && t.To == n.states[t.Command] {
				n.owned[t.Command] = t.To
			}
		}
	}
}

// maxRecalled bounds how many transitions of a pod are looked through.
const maxRecalled = 10_000

func (s *Service) acquire(ctx context.Context) bool {
	select {
	case s.writers <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) release() { <-s.writers }

// once finds the pod's management and reads what it counts until that ends.
func (n *session) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pod, err := n.look(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	service, host := n.service, n.host
	guards := n.guards && n.boot == process(pod)
	n.mu.Unlock()
	if service.Govern == nil {
		return errors.New("its Service does not ask to be governed any more")
	}
	if !n.svc.acquire(ctx) {
		return context.Cause(ctx)
	}
	// Who has guarded calls in a process does so to its end, however long nothing is
	// heard of it: what is applied there is taken back there.
	m, err := n.svc.find(ctx, service, pod, host, !guards)
	n.svc.release()
	if err != nil {
		return err
	}
	if m.metrics != "" && n.tells(ctx) {
		return errLacking // what it counts, it tells itself
	}
	e := n.met(m, process(pod))
	var applying sync.WaitGroup
	applying.Go(func() { n.pursue(ctx, e, m) })
	defer applying.Wait()
	defer cancel()
	return e.collect(ctx, m)
}

// tells reports whether Weir's SDK tells of the pod.
func (n *session) tells(ctx context.Context) bool {
	look, done := context.WithTimeout(ctx, storePatience)
	defer done()
	all, err := n.svc.cfg.Store.Instances(look, n.app)
	return err == nil && slices.ContainsFunc(all, func(i governance.Instance) bool { return i.ID == n.id && i.Tells() })
}

// errLacking ends what cannot go on, for a reason that is among what the pod lacks.
var errLacking = errors.New("there is no stream")

// pursue keeps the pod's settings as the policies wish until ctx ends.
func (n *session) pursue(ctx context.Context, e engine, m *management) {
	for {
		changed := n.svc.cfg.Policies.PoliciesChanged()
		next := e.settle(ctx, m)
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-changed:
		case <-n.kick:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// look reads what runs in the pod. While the cluster does not answer, what was
// there last counts.
func (n *session) look(ctx context.Context) (registry.Pod, error) {
	ask, done := context.WithTimeout(ctx, lookPatience)
	defer done()
	pod, err := n.svc.cfg.Registry.Pod(ask, n.at.Namespace, n.name)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil && pod.ID != n.id:
		return pod, errors.New("another pod has taken its name")
	case err == nil && process(pod) == "":
		return pod, errors.New("none of its containers runs")
	case err == nil:
		n.pod = pod
		return pod, nil
	case registry.CodeOf(err) == registry.Unavailable && n.pod.ID != "":
		return n.pod, nil
	}
	return pod, err
}

// met begins with a management port that was found, and returns what is there.
func (n *session) met(m *management, boot string) engine {
	n.mu.Lock()
	defer n.mu.Unlock()
	fresh := n.boot != boot
	if fresh {
		// Nothing of the process before holds for this one.
		if n.boot != "" {
			n.out.put(nil, n.anew(n.svc.cfg.Now()), n.svc.room())
		}
		n.boot, n.beyond, n.engine, n.taken, n.guards = boot, 0, nil, nil, false
	}
	n.guards = n.guards || m.governs()
	if e := newEngine(n, m); n.engine == nil || n.engine.name() != e.name() {
		n.engine = e
	}
	if fresh {
		n.say(&governance.Applied{})
	}
	n.lacks, n.changed, n.blind = n.engine.reached(m), true, !m.refresh
	return n.engine
}

// anew closes the circuits of a process that is no more; n.mu is held.
func (n *session) anew(now time.Time) []governance.Transition {
	var out []governance.Transition
	for _, command := range sortedKeys(n.states) {
		if from := n.states[command]; from != governance.StateClosed {
			out = append(out, governance.Transition{
				Series: governance.Series{Command: command, At: governance.Provider}, Time: now, From: from, To: governance.StateClosed,
				Cause: "its process began anew",
			})
		}
	}
	clear(n.states)
	clear(n.owned)
	return out
}

// broke notes why the stream ended.
func (n *session) broke(err error) {
	if err == nil || errors.Is(err, errLacking) {
		return
	}
	text := err.Error()
	var e *registry.Error
	if errors.As(err, &e) {
		text = e.Message
	}
	text = "it is not heard: " + text
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.trouble != text {
		n.trouble, n.changed = text, true
	}
}

// room is how many samples each pod may have waiting for the store.
func (s *Service) room() int { return max(leastPending, maxPending/max(1, int(s.held.Load()))) }

// wake has what is applied looked at.
func (n *session) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// say notes what is applied; n.mu is held.
func (n *session) say(a *governance.Applied) {
	if n.applied != nil && sameApplied(n.applied, a) {
		return
	}
	n.applied, n.since, n.changed = a, n.svc.cfg.Now(), true
	if n.engine != nil {
		n.since = n.engine.asOf(n.since)
	}
}

func sameApplied(a, b *governance.Applied) bool {
	return a.Hash == b.Hash && slices.Equal(a.Unmet, b.Unmet) && (a.Refused == nil) == (b.Refused == nil) &&
		(a.Refused == nil || a.Refused.Hash == b.Refused.Hash && a.Refused.Reason == b.Refused.Reason)
}

func (n *session) outcome(err error) {
	word := "written"
	if err != nil {
		word = "failed"
	}
	n.svc.metrics.writes.WithLabelValues(word).Inc()
}

// confirm says that the pod enforces a set; n.mu is held.
func (n *session) confirm(set governance.PolicySet, unmet []governance.Unmet) {
	if n.changed && n.adrift() {
		return // a drift is told first, or nobody would ever read of it
	}
	n.because("")
	n.say(&governance.Applied{Version: set.Version, Hash: set.Hash, Unmet: unmet})
}

// refuse says that it cannot, and why; n.mu is held.
func (n *session) refuse(set governance.PolicySet, reason string) {
	a := &governance.Applied{Refused: &governance.Refusal{Version: set.Version, Hash: set.Hash, Reason: reason}}
	// What it held before, it goes on holding; but of this set itself, which a process
	// may have held that could be written, nothing may be left confirmed.
	if n.applied != nil && n.applied.Hash != set.Hash && n.applied.Version < set.Version {
		a.Version, a.Hash = n.applied.Version, n.applied.Hash
	}
	n.say(a)
}

// adrift reports whether what stands in the way is a drift; n.mu is held.
func (n *session) adrift() bool { return n.reason != "" && n.reason == n.driftReason }

// drift notes that a pod which was as it should be is so no longer, by what is off;
// n.mu is held.
func (n *session) drift(off string) {
	n.svc.metrics.drifts.Inc()
	n.say(&governance.Applied{})
	n.because("somebody changed its settings: " + off + "; it is being written again")
	n.driftReason = n.reason
	now := n.svc.cfg.Now()
	if now.Sub(n.drifted) < driftTold {
		return
	}
	n.drifted = now
	n.drifts = append(n.drifts, governance.Event{Time: now, Kind: governance.EventDrifted, App: n.app, Instance: n.id, Reason: n.reason})
}

// driftTold is how far apart events of drifts are: somebody else may write as
// persistently as this.
const driftTold = 10 * time.Second

// written says that what is wanted was written. A drift is told until it shows, or
// nobody would ever read of it; n.mu is held.
func (n *session) written() {
	if !n.adrift() {
		n.because("")
	}
}

// because notes why what is wanted is not applied; n.mu is held.
func (n *session) because(reason string) {
	if n.reason != reason {
		n.reason, n.changed = reason, true
	}
}

// instance is what is to be told of the pod: if it has changed, or every.
func (n *session) instance(every bool, now time.Time) (governance.Instance, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !every && !n.changed {
		return governance.Instance{}, false
	}
	n.changed = false
	sdk := ""
	if n.engine != nil {
		sdk = n.engine.name()
	}
	lacks := append(slices.Clone(n.lacks), n.configLacks()...)
	if n.trouble != "" {
		lacks = append(lacks, n.trouble)
	}
	if n.reason != "" {
		lacks = append(lacks, n.reason)
	}
	if n.beyond > 0 {
		lacks = append(lacks, fmt.Sprintf("it has more than %d commands, and those beyond are not collected", maxCommands))
	}
	return governance.Instance{
		App: n.app, ID: n.id, Name: n.name, SDK: sdk, Seen: now, Applied: n.applied, AppliedAt: n.since, Lacks: lacks, Outside: true,
	}, true
}

// untold says that what instance returned did not arrive.
func (n *session) untold() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed = true
}

func (n *session) pending() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.out.empty()
}

// append stores the next report.
func (n *session) append(ctx context.Context) error {
	n.mu.Lock()
	r := n.out.take(n.app, n.id, n.name, n.boot, n.svc.cfg.Now())
	n.mu.Unlock()
	if r == nil {
		return nil
	}
	look, done := context.WithTimeout(ctx, 3*storePatience)
	err := n.svc.cfg.Store.Append(look, *r)
	done()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch governance.CodeOf(err) {
	case "":
		n.svc.metrics.samples.Add(float64(len(r.Samples)))
	case governance.Unavailable:
		return err
	default:
		if ctx.Err() != nil {
			return err
		}
		n.svc.metrics.dropped.Add(float64(len(r.Samples))) // told again, it fails again
	}
	n.out.unsent = nil
	return err
}
