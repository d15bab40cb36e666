package agentless

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/governance"
)

const (
	// lookAgain is how often what is applied is held against what is wanted while
	// nothing happens, and retry how long after a failure.
	lookAgain = time.Second
	retry     = 2 * time.Second
	// visible is how long a stream may take to show what was written.
	visible = 4 * time.Second
	// firstRound is how long a stream takes to have told of every command once.
	firstRound = 1200 * time.Millisecond
	// rereadAfter is how often a pod that is as it should be is asked what was written
	// into it, for what no stream shows.
	rereadAfter = time.Minute
)

// by is the policy that decides a command's mode; n.mu is held.
func (n *hystrix) by(command string) *governance.Source {
	if n.wish == nil {
		return nil
	}
	if s, ok := n.wish.by[command]; ok {
		return &s
	}
	if s, ok := n.wish.by[""]; ok {
		return &s
	}
	return nil
}

// settle does one step, and returns when to look again.
func (n *hystrix) settle(ctx context.Context, m *management) time.Duration {
	now := n.svc.cfg.Now()
	set, ok := n.svc.cfg.Policies.Policies(n.app)
	if !ok {
		return lookAgain
	}
	n.mu.Lock()
	if n.wish == nil || n.set.Hash != set.Hash || n.seen != len(n.commands) || !n.wish.until.IsZero() && !now.Before(n.wish.until) {
		n.set, n.seen = set, len(n.commands)
		n.agreed = -1 // what is off from now on may be off for what is wished now
		n.wish = plan(set, n.app, n.commands, now)
	}
	w, commands, have := n.wish, n.snapshotCommands(), n.have
	if reason := cannot(m); reason != "" {
		n.mu.Unlock()
		if now.Sub(n.asked) >= lastPause {
			// Somebody may have mended it.
			n.asked = now
			if m.again(ctx) == nil && cannot(m) == "" {
				n.mu.Lock()
				n.lacks, n.changed = hystrixLacks(m), true
				n.mu.Unlock()
				return 0
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if w.empty() {
			n.confirm(set, w.unmet)
		} else {
			n.refuse(set, reason)
		}
		return lookAgain
	}
	heard := n.hears != (time.Time{}) && now.Sub(n.hears) >= firstRound
	n.mu.Unlock()
	release := false
	if have != nil && (now.Sub(n.readAt) < rereadAfter || w.empty() && len(have) == 0) {
		todo, waiting := n.todo(w, commands, have, now)
		left := leftovers(w, have)
		// What is wanted does not wait for a ConfigMap. What is taken back does: what
		// that says is what it is taken back to.
		if len(todo) == 0 {
			if release = n.reread(ctx, m); !release {
				return lookAgain / 4
			}
		}
		if len(todo)+len(left) == 0 {
			n.mu.Lock()
			defer n.mu.Unlock()
			if waiting || !heard {
				return lookAgain / 4
			}
			n.agreed = len(commands)
			n.confirm(set, w.unmet)
			return lookAgain
		}
		n.drifted(w, commands, set)
	}
	if !n.svc.acquire(ctx) {
		return retry
	}
	defer n.svc.release()
	err := n.write(ctx, m, w, commands, release)
	if ctx.Err() != nil {
		return retry
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.written()
		return lookAgain / 4
	}
	if reason := cannot(m); reason != "" {
		n.lacks = hystrixLacks(m)
		n.changed = true
		return 0
	}
	text := err.Error()
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		text = fmt.Sprintf("%s did not answer within %s", path(m.base)+"/env", answerPatience)
	}
	n.because("what is wanted is not applied: " + text)
	return retry
}

// cannot says why nothing can be applied; "" if it can.
func cannot(m *management) string {
	switch {
	case m.stream == "":
		return strings.Join(hystrixLacks(m), "; ")
	case !m.env || m.asked && !m.writes:
		return strings.Join(hystrixLacks(m), "; ")
	}
	return ""
}

// todo is what has to be written now. What was written a moment ago, and does not
// show in the stream yet, is waited for.
func (n *hystrix) todo(w *wish, commands map[string]*commandEvent, have map[string]string, now time.Time) (todo []change, waiting bool) {
	for _, c := range w.diff(commands, have) {
		if have[c.key] == c.value && now.Sub(n.wroteAt) < visible {
			waiting = true
			continue
		}
		todo = append(todo, c)
	}
	for i, c := range todo {
		if !strings.HasPrefix(c.key, commandPrefix+defaultKey+".") && i > 0 && strings.HasPrefix(todo[0].key, commandPrefix+defaultKey+".") {
			// What holds for all comes first: most commands then need nothing of their own.
			return todo[:i], true
		}
	}
	if len(todo) > 0 && !n.wroteDefaults(todo) && now.Sub(n.wroteAt) < lookAgain && len(w.all) > 0 {
		return nil, true // the stream has yet to show what the defaults came to
	}
	return todo, waiting
}

func (n *hystrix) wroteDefaults(todo []change) bool {
	return strings.HasPrefix(todo[0].key, commandPrefix+defaultKey+".")
}

// leftovers are keys that were written for what is not wanted any more.
func leftovers(w *wish, have map[string]string) []string {
	var out []string
	for _, key := range sortedKeys(have) {
		if !w.wants(key) {
			out = append(out, key)
		}
	}
	return out
}

// write writes what differs, and, for release, takes back what is not wanted any more. It says
// first which keys it is about to write, so that whoever comes next can take them
// back even if it is ended halfway.
func (n *hystrix) write(ctx context.Context, m *management, w *wish, commands map[string]*commandEvent, release bool) error {
	o, err := m.read(ctx)
	if err != nil {
		n.outcome(err)
		return err
	}
	now := n.svc.cfg.Now()
	have := o.have()
	todo, _ := n.todo(w, commands, have, now)
	var left []string
	if release {
		left = leftovers(w, have)
	}
	defer func() {
		n.mu.Lock()
		n.have, n.readAt = have, now
		n.mu.Unlock()
	}()
	keys := sortedKeys(have)
	for _, c := range todo {
		keys = append(keys, c.key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(todo) > 0 && !equalSets(keys, o.ours) {
		if err := m.mark(ctx, keys); err != nil {
			n.outcome(err)
			return err
		}
	}
	for _, c := range todo {
		err := m.write(ctx, c.key, c.value)
		n.outcome(err)
		if err != nil {
			return err
		}
		have[c.key] = c.value
		n.wroteAt = n.svc.cfg.Now()
	}
	for _, key := range left {
		// An empty text is none to Hystrix, which falls back on its default.
		err := m.write(ctx, key, o.below[key])
		n.outcome(err)
		if err != nil {
			return err
		}
		delete(have, key)
	}
	if len(left) > 0 || len(todo) == 0 && len(o.ours) != len(have) {
		if err := m.mark(ctx, sortedKeys(have)); err != nil {
			n.outcome(err)
			return err
		}
	}
	return nil
}

func equalSets(sorted, other []string) bool {
	other = slices.Clone(other)
	slices.Sort(other)
	return slices.Equal(sorted, slices.Compact(other))
}

// drifted notes that a pod which was as it should be is so no longer, though
// nobody has wished for anything else here.
func (n *hystrix) drifted(w *wish, commands map[string]*commandEvent, set governance.PolicySet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.applied == nil || n.applied.Hash != set.Hash || n.applied.Refused != nil || n.agreed != len(commands) {
		return // or a command has just run for the first time
	}
	off := w.off(commands)
	if off == "" {
		return
	}
	n.drift(off)
}
