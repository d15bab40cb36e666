package agentless

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/pause"
)

// hystrixName is what instances with Hystrix are said to run.
const hystrixName = "hystrix-stream"

// silence is how long a stream may say nothing; it does so twice a second.
const silence = 10 * time.Second

// hystrix is the engine of a process with Hystrix: what its stream says, and what
// is written into it (apply.go). Its fields are guarded by the session's mutex, but
// for those that only the goroutine which settles has.
type hystrix struct {
	*session
	commands map[string]*commandEvent
	windows  map[string]*window
	hears    time.Time // when the stream that is read now first spoke; zero for not yet

	set  governance.PolicySet
	wish *wish
	seen int // commands that the wish was made with

	// have is what is written and ours, nil while that is not known; readAt is when it
	// was asked for, wroteAt when something was written last.
	have            map[string]string
	readAt, wroteAt time.Time
	asked           time.Time // when it was asked last whether it can be written
	// agreed is how many commands there were when all was last as it should be; -1 while
	// it has yet to become so.
	agreed int
}

func newHystrix(n *session) *hystrix {
	return &hystrix{session: n, commands: map[string]*commandEvent{}, windows: map[string]*window{}}
}

func (n *hystrix) name() string { return hystrixName }

func (n *hystrix) asOf(now time.Time) time.Time { return now }

func (n *hystrix) reached(m *management) []string {
	n.hears = time.Time{}
	return hystrixLacks(m)
}

// hystrixLacks says what stands in the way, in sentences.
func hystrixLacks(m *management) []string {
	var out []string
	if m.stream == "" {
		out = append(out, fmt.Sprintf("%s has no hystrix.stream: add hystrix.stream to management.endpoints.web.exposure.include, and have Hystrix on (@EnableHystrix), or, where Resilience4j guards its calls, circuitbreakers and prometheus; until then nothing is collected", path(m.base)))
	}
	switch {
	case !m.env:
		out = append(out, fmt.Sprintf("%s has no env: add env to management.endpoints.web.exposure.include; until then no policy is applied", path(m.base)))
	case m.asked && !m.writes:
		out = append(out, cannotWrite(m.base))
	}
	return out
}

// collect reads the stream.
func (n *hystrix) collect(ctx context.Context, m *management) error {
	if m.stream != "" {
		return n.read(ctx, m)
	}
	n.mu.Lock()
	n.trouble = "" // it is among what the pod lacks
	n.mu.Unlock()
	// It is looked at again: somebody may be about to mend that.
	pause.For(ctx, lastPause)
	return errLacking
}

// read reads a stream to its end.
func (n *hystrix) read(ctx context.Context, m *management) error {
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
func (n *hystrix) take(c *commandEvent, now time.Time) {
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
		// Of what ran before the stream was read from here, a part was not counted.
		w = &window{lossy: n.hears != (time.Time{}) && now.Sub(n.hears) < firstRound}
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

func sameSettings(a, b *commandEvent) bool {
	return !slices.ContainsFunc(settings, func(s *setting) bool { return s.effective != nil && s.effective(a) != s.effective(b) })
}

// snapshotCommands returns what the stream has told of commands; n.mu is held.
func (n *hystrix) snapshotCommands() map[string]*commandEvent { return maps.Clone(n.commands) }
