//go:build linux

package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
)

// subject is what consumers are measured on, and the hand that changes it.
type subject struct {
	backend consumer.Backend
	// target says where a consumer finds the registry; empty asks for one that
	// has nothing in it.
	target func(empty bool) consumer.OpenArgs
	// change has an instance go or come back.
	change func(ctx context.Context, instance int, up bool) (asked, taken int64, err error)
	// outage kills the server and has it back after a while; it returns when the
	// server serves again.
	outage func(ctx context.Context, down time.Duration) error
	// upgrade has every instance of one generation give way to its successor, and
	// returns what became of each.
	upgrade func(ctx context.Context, from int) ([]kubernetes.Replaced, error)
	// memory returns what the server has resident; 0 if it cannot be known.
	memory func(ctx context.Context) (uint64, error)
}

// run is one run of the benchmark.
type run struct {
	options  Options
	dir      string
	progress io.Writer
	begun    time.Time
	subjects []subject
	stops    []func()
}

// Run measures and prints a report to out, telling its progress to progress. It
// ends everything it started before it returns.
func Run(ctx context.Context, o Options, out, progress io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the run took longer than -timeout %s", o.Timeout))
	defer cancel()
	load, err := loadAverage()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	r := &run{options: o, dir: dir, progress: progress, begun: time.Now()}
	defer func() {
		for _, stop := range slices.Backward(r.stops) {
			stop()
		}
		if o.Keep {
			r.say("logs are in %s", dir)
		} else {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	if err := r.prepare(ctx); err != nil {
		return err
	}
	rep := Report{Options: o, Load: load, Results: map[consumer.Backend]*Result{}}
	for _, s := range r.subjects {
		rep.Results[s.backend] = &Result{Subject: s.backend}
	}
	switch {
	case o.Outage:
		err = r.measureOutages(ctx, rep)
	case o.Upgrade:
		err = r.measureUpgrades(ctx, rep)
	default:
		err = r.measureChanges(ctx, rep)
	}
	if err != nil {
		return err
	}
	if err := rep.Write(out); err != nil {
		return err
	}
	if o.JSON == "" {
		return nil
	}
	data, err := json.MarshalIndent(rep, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.JSON, data, 0o644)
}

// loadAverage returns how many processes wanted a processor over the last minute.
func loadAverage() (float64, error) {
	var load float64
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), &load)
	}
	return load, err
}

func (r *run) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.progress, "%6.1fs  %s\n", time.Since(r.begun).Seconds(), fmt.Sprintf(format, args...))
}

// atEnd has stop called at the end of the run, last first.
func (r *run) atEnd(stop func()) { r.stops = append(r.stops, stop) }

// changes returns the number of changes in a round: pairs, since whoever goes
// comes back.
func (o Options) changes() int { return max(2, o.Changes/o.Rounds/2*2) }

// pick chooses the instances that go and come back, spread over applications
// and over their slots, never twice in a row from one application.
func (o Options) pick(k int) int {
	const stride = 7919 // a prime larger than any common divisor of instances and applications
	return k * stride % o.Plan.Instances
}

func (r *run) measureChanges(ctx context.Context, rep Report) error {
	for _, s := range r.subjects {
		if err := r.measureFixed(ctx, s, rep.Results[s.backend]); err != nil {
			return fmt.Errorf("%s: %w", s.backend, err)
		}
	}
	for round := range r.options.Rounds {
		order := slices.Clone(r.subjects)
		if round%2 == 1 {
			slices.Reverse(order) // whoever comes first finds another machine
		}
		for _, s := range order {
			res := rep.Results[s.backend]
			if res.Failed != "" {
				continue
			}
			err := r.measureRound(ctx, s, round, res)
			if err != nil && s.backend == consumer.ZooKeeper && ctx.Err() == nil {
				// What the peer could not do says something, too, and costs no other's figures.
				res.Failed = fmt.Sprintf("round %d: %v", round+1, err)
				r.say("%s, %s", s.backend, res.Failed)
				continue
			}
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", s.backend, round+1, err)
			}
		}
	}
	for _, s := range r.subjects {
		memory, err := s.memory(ctx)
		if err != nil {
			return err
		}
		rep.Results[s.backend].ServerMemory = memory
	}
	return nil
}

// consume starts a fresh consumer and has it follow everything.
func (r *run) consume(ctx context.Context, name string, args consumer.OpenArgs) (*child.Process, consumer.Opened, error) {
	var opened consumer.Opened
	if r.options.Profiles != "" {
		dir, err := filepath.Abs(r.options.Profiles)
		if err != nil {
			return nil, opened, err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, opened, err
		}
		args.Profiles = filepath.Join(dir, name)
	}
	p, err := child.Start(consumer.Role, filepath.Join(r.dir, name))
	if err != nil {
		return nil, opened, err
	}
	if err := p.Call(ctx, "open", args, &opened); err != nil {
		p.Kill()
		return nil, opened, err
	}
	return p, opened, nil
}

const consumerGrace = 2 * time.Second

func (r *run) measureFixed(ctx context.Context, s subject, res *Result) error {
	args := s.target(true)
	args.Fixed = true
	p, opened, err := r.consume(ctx, string(s.backend)+"-empty", args)
	if err != nil {
		return err
	}
	defer p.Stop(consumerGrace)
	res.Fixed = opened
	if r.options.Idle == 0 {
		return nil
	}
	if res.FixedIdle, err = r.idle(ctx, p, string(s.backend)+" with nothing in it"); err != nil {
		return err
	}
	alone := consumer.OpenArgs{Backend: consumer.Nothing, Plan: args.Plan, Fixed: true, WithoutDubbo: args.WithoutDubbo}
	process, _, err := r.consume(ctx, string(s.backend)+"-alone", alone)
	if err != nil {
		return err
	}
	defer process.Stop(consumerGrace)
	res.ProcessIdle, err = r.idle(ctx, process, string(s.backend)+", its process alone")
	return err
}

// idle returns the processor time that a consumer takes while nothing happens.
func (r *run) idle(ctx context.Context, p *child.Process, who string) (*int64, error) {
	r.say("%s: nothing changes for %s …", who, r.options.Idle)
	cpu := new(int64)
	return cpu, p.Call(ctx, "idle", r.options.Idle, cpu)
}

func (r *run) measureRound(ctx context.Context, s subject, round int, res *Result) error {
	p, opened, err := r.consume(ctx, fmt.Sprintf("%s-%d", s.backend, round+1), s.target(false))
	if err != nil {
		return err
	}
	defer p.Stop(consumerGrace)
	res.Opened = append(res.Opened, opened)
	if round == 0 && r.options.Idle > 0 {
		if res.Idle, err = r.idle(ctx, p, string(s.backend)); err != nil {
			return err
		}
	}
	n := r.options.changes()
	r.say("round %d of %d, %s: all %d instances after %s; %d changes …", round+1, r.options.Rounds, s.backend,
		r.options.Plan.Instances, time.Duration(opened.SubscribeNS).Round(time.Millisecond), n)
	for k := range n {
		instance, up := r.options.pick(round*n/2+k/2), k%2 == 1
		c, err := r.change(ctx, p, s, instance, up)
		if err != nil {
			return fmt.Errorf("change %d of %d: %w", k+1, n, err)
		}
		c.Round = round
		res.Changes = append(res.Changes, c)
		if !c.Restless {
			continue
		}
		r.say("%s: change %d of %d: lists were still told of something %s later; waiting until they are not …", s.backend, k+1, n, changeTimeout)
		if err := p.Call(ctx, "rest", consumer.SettleArgs{Quiet: r.options.Quiet, Timeout: restTimeout}, nil); err != nil {
			return fmt.Errorf("after change %d of %d: %w", k+1, n, err)
		}
	}
	return nil
}

// changeTimeout is how long a change may take before it counts as never come.
const changeTimeout = 15 * time.Second

// restTimeout is how much longer lists may be told of something after a change
// before nothing more is measured of their registry.
const restTimeout = 3 * time.Minute

// change has one instance go or come back, and the consumer measure it.
func (r *run) change(ctx context.Context, p *child.Process, s subject, instance int, up bool) (Change, error) {
	c := Change{Up: up}
	if err := p.Call(ctx, "arm", consumer.ArmArgs{Instance: instance, Up: up}, nil); err != nil {
		return c, err
	}
	var err error
	if c.Asked, c.Taken, err = s.change(ctx, instance, up); err != nil {
		return c, err
	}
	err = p.Call(ctx, "settle", consumer.SettleArgs{Quiet: r.options.Quiet, Timeout: changeTimeout}, &c.Settled)
	return c, err
}

func (r *run) measureOutages(ctx context.Context, rep Report) error {
	for _, s := range r.subjects {
		out, err := r.measureOutage(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.backend, err)
		}
		rep.Results[s.backend].Outage = out
	}
	return nil
}

func (r *run) measureOutage(ctx context.Context, s subject) (*Outage, error) {
	p, _, err := r.consume(ctx, string(s.backend)+"-outage", s.target(false))
	if err != nil {
		return nil, err
	}
	defer p.Stop(consumerGrace)
	if err := p.Call(ctx, "watch", struct{}{}, nil); err != nil {
		return nil, err
	}
	r.say("%s: the server is killed and away for %s …", s.backend, r.options.Down)
	if err := s.outage(ctx, r.options.Down); err != nil {
		return nil, err
	}
	r.say("%s: the server is back; watching for %s …", s.backend, r.options.After)
	select {
	case <-time.After(r.options.After):
	case <-p.Done():
		return nil, p.Died()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	out := &Outage{}
	if err := p.Call(ctx, "report", struct{}{}, &out.Outage); err != nil {
		return nil, err
	}
	if out.MissingAtEnd > 0 {
		return out, nil // then it also cannot tell whether a change has come
	}
	c, err := r.change(ctx, p, s, r.options.pick(1), false)
	if err != nil {
		return nil, err
	}
	if c.Notified != 0 {
		out.Follows = c.Notified - c.Asked
	}
	_, err = r.change(ctx, p, s, r.options.pick(1), true)
	return out, err
}
