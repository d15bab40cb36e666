package agentless

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
)

const (
	// firstPause and lastPause are between attempts to reach a pod.
	firstPause = 500 * time.Millisecond
	lastPause  = 10 * time.Second
	// silence is how long a stream may say nothing; it does so twice a second.
	silence = 10 * time.Second
	// maxCommands bounds the commands of one pod that are collected.
	maxCommands = 5000
)

// session is one pod: its stream, and what is applied to it.
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

	commands map[string]*commandEvent
	windows  map[string]*window
	states   map[string]governance.State // as they were told last
	beyond   int                         // commands for which there is no room
	out      outbox

	hears   time.Time // when the stream that is read now first spoke; zero for not yet
	lacks   []string  // of the pod's management, as it was seen last
	trouble string    // why it is not heard now
	reason  string    // why what is wanted is not applied now
	applied *governance.Applied
	since   time.Time // when that was said first
	changed bool      // since it was told

	pursuit
}

func newSession(s *Service, app registry.App, service registry.Service, in registry.Instance, end context.CancelFunc) *session {
	return &session{
		svc: s, at: app, app: governance.App{Namespace: app.Namespace, Name: app.Name}, id: in.ID, name: in.Name, end: end,
		kick: make(chan struct{}, 1), service: service, host: in, changed: true,
		commands: map[string]*commandEvent{}, windows: map[string]*window{}, states: map[string]governance.State{},
	}
}

// renew takes in what the registry says now.
func (n *session) renew(service registry.Service, in registry.Instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.service, n.host = service, in
}

// run keeps a stream until ctx ends.
func (n *session) run(ctx context.Context) {
	defer n.end()
	if n.wait && !sleep(ctx, settling) {
		return
	}
	n.recall(ctx)
	pause := firstPause
	for ctx.Err() == nil {
		begin := time.Now()
		err := n.once(ctx)
		if ctx.Err() != nil {
			return
		}
		n.broke(err)
		if time.Since(begin) > time.Minute {
			pause = firstPause
		}
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return
		}
		pause = min(pause*2, lastPause)
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
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range all {
		if all[i].Instance == n.id && all[i].At == governance.Provider {
			n.states[all[i].Command] = all[i].State
		}
	}
}

func (s *Service) acquire(ctx context.Context) bool {
	select {
	case s.writers <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) release() { <-s.writers }

// once finds the pod's management and reads its stream until that ends.
func (n *session) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pod, err := n.look(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	service, host := n.service, n.host.Host
	n.mu.Unlock()
	if service.Govern == nil {
		return errors.New("its Service does not ask to be governed any more")
	}
	if !n.svc.acquire(ctx) {
		return context.Cause(ctx)
	}
	m, err := n.svc.find(ctx, *service.Govern, service, pod, host)
	n.svc.release()
	if err != nil {
		return err
	}
	n.met(m, process(pod))
	var applying sync.WaitGroup
	applying.Go(func() { n.pursue(ctx, m) })
	defer applying.Wait()
	defer cancel()
	if m.stream == "" {
		// It is looked at again: somebody may be about to mend that.
		sleep(ctx, lastPause)
		return errNoStream
	}
	return n.read(ctx, m)
}

var errNoStream = errors.New("there is no stream")

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

// met begins with a management port that was found.
func (n *session) met(m *management, boot string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.boot != boot {
		// Nothing of the process before holds for this one.
		if n.boot != "" {
			n.out.put(nil, n.anew(n.svc.cfg.Now()), n.svc.room())
		}
		n.boot, n.beyond = boot, 0
		clear(n.commands)
		clear(n.windows)
		n.forget()
		n.say(&governance.Applied{})
	}
	n.lacks, n.changed, n.hears = m.lacks(), true, time.Time{}
	if m.stream == "" {
		n.trouble = "" // which is among what it lacks
	}
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
	return out
}

// broke notes why the stream ended.
func (n *session) broke(err error) {
	if err == nil || errors.Is(err, errNoStream) {
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

// read reads a stream to its end.
func (n *session) read(ctx context.Context, m *management) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%s has been silent for %s", path(m.stream), silence)) })
	defer watchdog.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.stream, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := m.client.Do(req)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		return fmt.Errorf("%s has as many readers as it may (hystrix.config.stream.maxConcurrentConnections, 5): end another, such as a dashboard or Turbine", path(m.stream))
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s answers %d", path(m.stream), resp.StatusCode)
	}
	n.svc.metrics.streaming.Inc()
	defer n.svc.metrics.streaming.Dec()
	d := newDecoder(resp.Body)
	garbage, first := 0, true
	for {
		e, err := d.next()
		if d.garbage > garbage {
			n.svc.metrics.garbage.Add(float64(d.garbage - garbage))
			garbage = d.garbage
		}
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("%s ended: %w", path(m.stream), err)
		}
		watchdog.Reset(silence)
		if first {
			first = false
			n.mu.Lock()
			n.hears = n.svc.cfg.Now()
			n.trouble, n.changed = "", n.changed || n.trouble != ""
			n.mu.Unlock()
		}
		n.svc.metrics.events.Inc()
		if e.command != nil {
			n.take(e.command, n.svc.cfg.Now())
		}
	}
}

// take takes in one word of a command.
func (n *session) take(c *commandEvent, now time.Time) {
	room := n.svc.room()
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.commands[c.Name]
	if before == nil && len(n.commands) >= maxCommands {
		if n.beyond == 0 {
			n.changed = true
		}
		n.beyond++
		return
	}
	n.commands[c.Name] = c
	w := n.windows[c.Name]
	if w == nil {
		w = &window{}
		n.windows[c.Name] = w
	}
	from, told := n.states[c.Name]
	if !told {
		from = governance.StateClosed
	}
	var moved []governance.Transition
	if to := c.state(); to != from {
		moved = append(moved, transition(c, from, now, n.by(c.Name)))
		n.states[c.Name] = to
	}
	samples, gap := w.take(c, now)
	if gap > 0 {
		n.svc.metrics.gaps.Add(gap.Seconds())
	}
	if dropped := n.out.put(samples, moved, room); dropped > 0 {
		n.svc.metrics.dropped.Add(float64(dropped))
	}
	if before == nil || !sameSettings(before, c) {
		n.wake()
	}
}

// room is how many samples each pod may have waiting for the store.
func (s *Service) room() int { return max(leastPending, maxPending/max(1, int(s.held.Load()))) }

func sameSettings(a, b *commandEvent) bool {
	return !slices.ContainsFunc(settings, func(s *setting) bool { return s.effective != nil && s.effective(a) != s.effective(b) })
}

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
}

func sameApplied(a, b *governance.Applied) bool {
	return a.Hash == b.Hash && slices.Equal(a.Unmet, b.Unmet) && (a.Refused == nil) == (b.Refused == nil) &&
		(a.Refused == nil || a.Refused.Hash == b.Refused.Hash && a.Refused.Reason == b.Refused.Reason)
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
	lacks := slices.Clone(n.lacks)
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
		App: n.app, ID: n.id, Name: n.name, SDK: sdkName, Seen: now, Applied: n.applied, AppliedAt: n.since, Lacks: lacks,
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

// snapshotCommands returns what the stream has told of commands; n.mu is held.
func (n *session) snapshotCommands() map[string]*commandEvent { return maps.Clone(n.commands) }
