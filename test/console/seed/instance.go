package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/governance"
)

// instance is one made-up process.
type instance struct {
	app   *app
	id    string
	name  string
	first bool // the one of its application that shows a story of one instance
	seq   int64

	mu       sync.Mutex
	set      governance.PolicySet // what it enforces
	applied  *governance.Applied
	toReport bool

	circuits map[governance.Series]*circuit // of its own goroutine
	rand     *rand.Rand
}

// run lets all instances live until ctx ends. It fails when none of them could
// speak with the control plane.
func (f *fleet) run(ctx context.Context, c *client, every, past time.Duration, out io.Writer) error {
	boot := fmt.Sprintf("seed-%d", time.Now().UnixNano())
	lost := make(chan error, len(f.instances))
	var all sync.WaitGroup
	began := time.Now()
	for n, i := range f.instances {
		i.rand = rand.New(rand.NewPCG(uint64(n), 0x1115))
		i.circuits = map[governance.Series]*circuit{}
		all.Go(func() { i.listen(ctx, c) })
		all.Go(func() {
			// Spread over the period, as real ones are.
			if !sleep(ctx, every*time.Duration(n)/time.Duration(len(f.instances))) {
				return
			}
			if err := i.live(ctx, c, boot, every, began, n < 50, past); err != nil {
				select {
				case lost <- err:
				default:
				}
			}
		})
	}
	all.Wait()
	close(lost)
	said := 0
	for err := range lost {
		if said++; said <= 3 {
			fmt.Fprintln(out, "an instance gave up:", err)
		}
	}
	if said == len(f.instances) {
		return errors.New("no instance could report")
	}
	return nil
}

// listen holds a stream and takes the sets that come, again and again.
func (i *instance) listen(ctx context.Context, c *client) {
	for ctx.Err() == nil {
		i.stream(ctx, c)
		sleep(ctx, time.Second+rand.N(2*time.Second))
	}
}

func (i *instance) stream(ctx context.Context, c *client) {
	q := url.Values{"app": {i.app.name.String()}, "instance": {i.id}, "name": {i.name}, "wire": {fmt.Sprint(governance.WireVersion)}, "sdk": {"go/0.1.0"}}
	for _, k := range i.app.calls {
		if to := k.to.app.name.String(); !slices.Contains(q["calls"], to) {
			q.Add("calls", to)
		}
	}
	resp, err := c.do(ctx, http.MethodGet, c.server+governance.StreamPath+"?"+q.Encode(), nil, nil)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	c.streams.Add(1)
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	event := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case field == "event":
			event = value
		case field == "data" && event == governance.EventPolicies:
			var set governance.PolicySet
			if json.Unmarshal([]byte(value), &set) == nil {
				i.take(set)
			}
		}
	}
}

// take applies a set, unless this instance is there to show one that does not.
func (i *instance) take(set governance.PolicySet) {
	i.mu.Lock()
	defer i.mu.Unlock()
	again := i.applied != nil
	switch {
	case i.first && i.app.story == behind && again:
		return
	case i.first && i.app.story == refusing && again && set.Hash != i.set.Hash && len(set.Policies) > 0:
		i.applied.Refused = &governance.Refusal{
			Version: set.Version, Hash: set.Hash, Policy: set.Policies[0].Policy.Key().String(),
			Reason: "breaker.window: hystrix-go has no such setting",
		}
	default:
		i.set, i.applied = set, &governance.Applied{Version: set.Version, Hash: set.Hash}
	}
	i.toReport = true
}

// live reports until ctx ends. It fails when fifteen reports in a row did.
func (i *instance) live(ctx context.Context, c *client, boot string, every time.Duration, began time.Time, remembers bool, past time.Duration) error {
	next := began.Unix() // the first second that is not told yet
	if remembers && past > 0 {
		for _, samples := range i.history(began, past) {
			if err := i.post(ctx, c, boot, samples, nil); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	failures := 0
	for sleep(ctx, every) {
		var samples []governance.Sample
		var moved []governance.Transition
		for now := time.Now().Unix(); next < now; next++ {
			s, m := i.count(next, 1)
			samples, moved = append(samples, s...), append(moved, m...)
		}
		if err := i.post(ctx, c, boot, samples, moved); err == nil {
			failures = 0
		} else if failures++; failures >= 15 {
			return err
		}
	}
	return nil
}

func (i *instance) post(ctx context.Context, c *client, boot string, samples []governance.Sample, moved []governance.Transition) error {
	i.seq++
	r := governance.Report{
		Wire: governance.WireVersion, App: i.app.name, Instance: i.id, Name: i.name, Seq: i.seq, Boot: boot, Sent: time.Now(),
		Samples: samples, Transitions: moved,
	}
	if i.first && i.app.story == lossy {
		r.Dropped = map[string]int64{"samples": i.seq * 3}
	}
	i.mu.Lock()
	if i.toReport && i.applied != nil {
		a := *i.applied
		r.Applied, i.toReport = &a, false
	}
	i.mu.Unlock()
	err := c.report(ctx, &r)
	if err != nil && r.Applied != nil {
		i.mu.Lock()
		i.toReport = true
		i.mu.Unlock()
	}
	return err
}

// policies are those that it enforces.
func (i *instance) policies() []governance.Version {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.set.Policies
}

// sleep reports whether ctx lives on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
