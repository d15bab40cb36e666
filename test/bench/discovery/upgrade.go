//go:build linux

package discovery

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Upgrade is what a consumer's lists went through while every instance gave way to
// another.
type Upgrade struct {
	consumer.Upgraded
	Replaced []kubernetes.Replaced `json:"replaced"`
	// Took is how long it took until the last was replaced.
	Took time.Duration `json:"tookNS"`
}

// settleAfter is how long after the last write the lists may take to hold the
// successors and nobody else.
const settleAfter = 30 * time.Second

func (r *run) measureUpgrades(ctx context.Context, rep Report) error {
	generation := map[string]int{} // both of Weir's subjects look at one API server
	for _, s := range r.subjects {
		server := "kubernetes"
		if s.backend == consumer.ZooKeeper {
			server = "zookeeper"
		}
		out, err := r.measureUpgrade(ctx, s, generation[server])
		if err != nil {
			return fmt.Errorf("%s: %w", s.backend, err)
		}
		generation[server] = 1 - generation[server]
		rep.Results[s.backend].Upgrade = out
	}
	return nil
}

func (r *run) measureUpgrade(ctx context.Context, s subject, from int) (*Upgrade, error) {
	p, _, err := r.consume(ctx, string(s.backend)+"-upgrade", s.target(false))
	if err != nil {
		return nil, err
	}
	defer p.Stop(consumerGrace)
	if err := p.Call(ctx, "begin", struct{}{}, nil); err != nil {
		return nil, err
	}
	r.say("%s: %d instances give way to others, %d at a time …", s.backend, r.options.Plan.Instances, r.options.Rollout.Unavailable)
	begun := time.Now()
	out := &Upgrade{}
	if out.Replaced, err = s.upgrade(ctx, from); err != nil {
		return nil, err
	}
	out.Took = time.Since(begun)
	err = p.Call(ctx, "end", consumer.EndArgs{Generation: 1 - from, Timeout: settleAfter}, &out.Upgraded)
	return out, err
}

// stays collects how long dead addresses stayed in the lists after a moment that
// each of them has. One that had left before stayed for no time.
func (u *Upgrade) stays(since func(kubernetes.Replaced) int64) *sample.Set {
	s := &sample.Set{}
	for i, r := range u.Replaced {
		if at := since(r); at != 0 && u.Left[i] != 0 {
			s.Add(float64(max(0, u.Left[i]-at)))
		}
	}
	return s
}

func told(r kubernetes.Replaced) int64  { return r.Told }
func known(r kubernetes.Replaced) int64 { return r.Known }
func asked(r kubernetes.Replaced) int64 { return r.Asked }

// lingering is how many dead addresses were still listed at the end.
func (u *Upgrade) lingering() int {
	n := 0
	for i, r := range u.Replaced {
		if r.Asked != 0 && u.Left[i] == 0 {
			n++
		}
	}
	return n
}

// promisedStay is for how long a dead address may be listed beyond the EndpointSlice
// event, p99, in nanoseconds.
const promisedStay = 50e6

func (r Report) writeUpgrade(w io.Writer, t *report.Table, results []*Result) error {
	p := r.Options.Plan
	if _, err := fmt.Fprintf(w, "\nEvery one of %d instances of %d applications replaced, at most %d away at a time, each for %s; %s\n\n",
		p.Instances, p.Apps, r.Options.Rollout.Unavailable, r.Options.Rollout.Starts, r.machine()); err != nil {
		return err
	}
	row := func(title string, u report.Unit, value func(*Upgrade) float64) {
		t.Row(title, u, each(results, func(r *Result) float64 {
			if r == nil || r.Upgrade == nil {
				return math.NaN()
			}
			return value(r.Upgrade)
		})...)
	}
	t.Section("How long a dead address is listed")
	for _, since := range []struct {
		title string
		at    func(kubernetes.Replaced) int64
	}{{"after the EndpointSlice event", told}, {"after the first event of it, the pod's", known}, {"after its end was written", asked}} {
		for _, q := range []struct {
			name string
			at   float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
			row(since.title+", "+q.name, report.Time, func(u *Upgrade) float64 { return u.stays(since.at).Quantile(q.at) })
		}
	}
	row("dead addresses listed at the end", report.Number, func(u *Upgrade) float64 { return float64(u.lingering()) })
	row("addresses listed again after they had left", report.Number, func(u *Upgrade) float64 { return float64(u.Returned) })
	t.Section("Lists")
	row("applications whose list was empty at some time", report.Number, func(u *Upgrade) float64 { return float64(u.EmptyApps) })
	row("NotifyAll calls with an empty list", report.Number, func(u *Upgrade) float64 { return float64(u.EmptyCalls) })
	row("longest time a list was empty", report.Time, func(u *Upgrade) float64 { return float64(u.EmptyMaxNS) })
	row("smallest list, of the whole, %", report.Number, func(u *Upgrade) float64 { return 100 * u.Fewest })
	row("instances missing at the end", report.Number, func(u *Upgrade) float64 { return float64(u.MissingAtEnd) })
	t.Section("Work, for each instance replaced")
	per := float64(p.Instances)
	row("NotifyAll calls", report.Number, func(u *Upgrade) float64 { return float64(u.Calls) / per })
	row("processor time of the consumer", report.Time, func(u *Upgrade) float64 { return float64(u.CPU) / per })
	row("bytes from the server", report.Size, func(u *Upgrade) float64 { return float64(u.Traffic) / per })
	t.Section("The rollout")
	t.RowAlone("took", report.Time, each(results, func(r *Result) float64 {
		if r == nil || r.Upgrade == nil {
			return math.NaN()
		}
		return float64(r.Upgrade.Took)
	})...)
	if err := t.Write(w); err != nil {
		return err
	}
	weir := r.Results[consumer.Weir]
	if weir == nil || weir.Upgrade == nil {
		return nil
	}
	u, verdict := weir.Upgrade, "kept"
	p99 := u.stays(told).Quantile(0.99)
	if !(p99 < promisedStay) || u.EmptyCalls > 0 || u.lingering() > 0 {
		verdict = "NOT kept in this run"
	}
	_, err := fmt.Fprintf(w, "\nPromise: a dead address leaves within %s of the EndpointSlice event, p99, and no list is empty: %s (%s)\n",
		report.Format(promisedStay, report.Time), verdict, report.Format(p99, report.Time))
	return err
}
