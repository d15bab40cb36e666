//go:build linux

// Package consumer is the measured process: one consumer of every application of
// the plan, over one registry, doing nothing else.
package consumer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	gxtime "github.com/dubbogo/gost/time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/plan"
)

// Role names this process to child.Start.
const Role = "consumer"

// Backend names what is measured.
type Backend string

// Backends.
const (
	ZooKeeper Backend = "zookeeper" // dubbo-go's own registry
	Weir      Backend = "weir"      // Weir's registry under dubbo-go
	Hub       Backend = "hub"       // Weir's registry without dubbo-go on top
	Nothing   Backend = "nothing"   // the process alone
)

// OpenArgs say what to consume and where it is.
type OpenArgs struct {
	Backend Backend   `json:"backend"`
	Plan    plan.Plan `json:"plan"`
	// Address is ZooKeeper's host and port.
	Address string `json:"address,omitempty"`
	// Kubeconfig and Namespace are where Weir's registry is.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	// Fixed opens the registry and subscribes to nothing: what remains is the
	// cost of having a registry at all.
	Fixed bool `json:"fixed,omitempty"`
	// WithoutDubbo stops the clock that dubbo-go starts wherever it is linked in: the
	// process then stands for one without it.
	WithoutDubbo bool `json:"withoutDubbo,omitempty"`
	// Profiles, when set, is a path to which .heap (what the list holds) and
	// .cpu (of the changes) are appended for go tool pprof. Profiling costs what
	// is measured.
	Profiles string `json:"profiles,omitempty"`
}

// Opened tells what it took to know every instance.
type Opened struct {
	SubscribeNS int64  `json:"subscribeNS"` // first Subscribe called → every list complete
	CPUNS       int64  `json:"cpuNS"`       // processor time of that
	Heap        int64  `json:"heap"`        // bytes alive, above those before the registry was opened
	Cached      int64  `json:"cached"`      // of these, before anything was subscribed to; 0 where that is nothing
	Goroutines  int    `json:"goroutines"`
	RSS         uint64 `json:"rss"`
	Told        int64  `json:"told"` // calls of NotifyAll until it was quiet
	TrafficIn   int64  `json:"trafficIn"`
}

// ArmArgs announce a change.
type ArmArgs struct {
	Instance int  `json:"instance"`
	Up       bool `json:"up"`
}

// SettleArgs bound the wait for it.
type SettleArgs struct {
	Quiet   time.Duration `json:"quiet"`   // without a call, before the change counts as done with
	Timeout time.Duration `json:"timeout"` // for the change to arrive, and as long again for the rest
}

// Settled tells what one change did. Times are those of clock.Now.
type Settled struct {
	Arrived  int64 `json:"arrived"`  // its first message was read from the server; 0 if none was seen
	Observed int64 `json:"observed"` // Weir: the hub's own word for when it learnt of it; 0 elsewhere
	Notified int64 `json:"notified"` // NotifyAll with the change returned; 0 if it never came
	Restless bool  `json:"restless"` // lists were still being told of something when the time was up
	Told     int64 `json:"told"`     // calls of NotifyAll for its application
	Empty    int64 `json:"empty"`    // of those, with an empty list
	CPU      int64 `json:"cpu"`      // ns of processor time from arm until quiet
	Objects  int64 `json:"objects"`  // allocations
	Bytes    int64 `json:"bytes"`    // allocated
	Messages int64 `json:"messages"` // from the server
	Traffic  int64 `json:"traffic"`  // bytes from the server
}

// Outage tells what the lists went through while the registry was away.
type Outage struct {
	Calls        int64 `json:"calls"`
	EmptyCalls   int64 `json:"emptyCalls"`
	EmptyApps    int   `json:"emptyApps"` // applications whose list was empty at some time
	EmptyMaxNS   int64 `json:"emptyMaxNS"`
	EmptySumNS   int64 `json:"emptySumNS"` // over applications
	ShortApps    int   `json:"shortApps"`  // whose list lacked somebody at some time
	ShortSumNS   int64 `json:"shortSumNS"`
	MissingAtEnd int   `json:"missingAtEnd"`
	CPU          int64 `json:"cpu"`
}

// source is a registry that has been opened.
type source interface {
	// subscribe makes a list follow its application.
	subscribe(l *list) error
	// observed returns when the source itself says it learnt of the change that
	// was armed last; 0 if it does not say.
	observed() int64
	// arm announces that an instance will come or go.
	arm(instance int, up bool)
}

type session struct {
	args     OpenArgs
	recorder *recorder
	tap      *tap
	source   source

	armed    *list
	toldAt   int64
	emptyAt  int64
	cpuAt    int64
	countsAt counts
}

// Run serves the process's calls until there are no more.
func Run() error {
	s := &session{}
	defer pprof.StopCPUProfile()
	return child.Serve(map[string]child.Handler{
		"open":   child.Handle(s.open),
		"arm":    child.Handle(s.arm),
		"settle": child.Handle(s.settle),
		"rest":   child.Handle(s.rest),
		"watch":  child.Handle(s.watch),
		"report": child.Handle(s.report),
		"idle":   child.Handle(s.idle),
		"begin":  child.Handle(s.begin),
		"end":    child.Handle(s.end),
	})
}

const openTimeout = 2 * time.Minute

func (s *session) open(args OpenArgs) (Opened, error) {
	var out Opened
	s.args = args
	if args.WithoutDubbo {
		// dubbo-getty (v1.4.10) starts it in an init, and it ticks 100 times a second.
		gxtime.GetDefaultTimerWheel().Stop() // its Close would wait for ever
	}
	if args.Profiles != "" {
		runtime.MemProfileRate = 256 // bytes: the instances' share is small
	}
	s.recorder, s.tap = newRecorder(args.Plan), &tap{}
	before := heapAlive()
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	cpu := clock.CPU()
	begun := clock.Now()
	var err error
	if s.source, err = open(ctx, args, s.tap); err != nil {
		return out, err
	}
	if args.Backend == Hub && !args.Fixed {
		// Collecting takes time that is not the registry's.
		paused, spent := clock.Now(), clock.CPU()
		out.Cached = heapAlive() - before
		begun += clock.Now() - paused
		cpu += clock.CPU() - spent
	}
	if !args.Fixed {
		for app, l := range s.recorder.lists {
			if err := s.source.subscribe(l); err != nil {
				return out, fmt.Errorf("subscribe to %s: %w", plan.AppName(app), err)
			}
		}
		if err := s.recorder.until(ctx, s.recorder.full); err != nil {
			n, strays := s.recorder.missing()
			return out, fmt.Errorf("%d of %d instances are still missing, %d entries are none of ours: %w", n, args.Plan.Instances, strays, err)
		}
	}
	out.SubscribeNS = clock.Now() - begun
	out.CPUNS = clock.CPU() - cpu
	if err := s.recorder.rest(ctx, time.Second); err != nil {
		return out, fmt.Errorf("the registry goes on telling: %w", err)
	}
	out.Heap = heapAlive() - before
	out.Goroutines = runtime.NumGoroutine()
	_, out.TrafficIn = s.tap.traffic()
	for _, l := range s.recorder.lists {
		_, told, _ := l.outcome()
		out.Told += told
	}
	if out.RSS, err = child.RSS("self"); err != nil {
		return out, err
	}
	return out, s.profile()
}

// profile writes what is alive, and begins to write who computes.
func (s *session) profile() error {
	if s.args.Profiles == "" {
		return nil
	}
	heap, err := os.Create(s.args.Profiles + ".heap")
	if err != nil {
		return err
	}
	if err := errors.Join(pprof.WriteHeapProfile(heap), heap.Close()); err != nil {
		return err
	}
	cpu, err := os.Create(s.args.Profiles + ".cpu") // open until the process ends
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(cpu)
}

func (s *session) arm(args ArmArgs) (struct{}, error) {
	app := s.args.Plan.App(args.Instance)
	l := s.recorder.lists[app]
	s.tap.arm(plan.AppName(app))
	s.source.arm(args.Instance, args.Up)
	if !l.arm(s.args.Plan.Slot(args.Instance), args.Up) {
		return struct{}{}, errors.New("the list is already as it would be after the change")
	}
	s.armed = l
	_, s.toldAt, s.emptyAt = l.outcome()
	s.countsAt = s.count()
	s.cpuAt = clock.CPU()
	return struct{}{}, nil
}

func (s *session) settle(args SettleArgs) (Settled, error) {
	ctx, cancel := context.WithTimeout(context.Background(), args.Timeout)
	defer cancel()
	_ = s.recorder.until(ctx, func() bool { // a change that never comes is a result, not a failure
		notified, _, _ := s.armed.outcome()
		return notified != 0
	})
	resting, stop := context.WithTimeout(context.Background(), args.Timeout)
	defer stop()
	restless := s.recorder.rest(resting, args.Quiet) != nil // a result, too
	cpu, now := clock.CPU(), s.count()
	notified, told, empty := s.armed.outcome()
	return Settled{
		Arrived:  s.tap.arrived(),
		Observed: s.source.observed(),
		Notified: notified,
		Restless: restless,
		Told:     told - s.toldAt,
		Empty:    empty - s.emptyAt,
		CPU:      cpu - s.cpuAt,
		Objects:  now.objects - s.countsAt.objects,
		Bytes:    now.bytes - s.countsAt.bytes,
		Messages: now.messages - s.countsAt.messages,
		Traffic:  now.traffic - s.countsAt.traffic,
	}, nil
}

// rest waits for lists that are told of something to come to rest.
func (s *session) rest(args SettleArgs) (struct{}, error) {
	ctx, cancel := context.WithTimeout(context.Background(), args.Timeout)
	defer cancel()
	if err := s.recorder.rest(ctx, args.Quiet); err != nil {
		return struct{}{}, fmt.Errorf("the registry goes on telling: %w", err)
	}
	return struct{}{}, nil
}

// idle returns the processor time that it takes to do nothing for a while. What the
// collections of the measurement freed is given back first, which the runtime would
// do meanwhile.
func (s *session) idle(d time.Duration) (int64, error) {
	debug.FreeOSMemory()
	cpu := clock.CPU()
	time.Sleep(d) //nolint:forbidigo // the time itself is what is measured
	return clock.CPU() - cpu, nil
}

func (s *session) watch(struct{}) (struct{}, error) {
	now := clock.Now()
	for _, l := range s.recorder.lists {
		l.mu.Lock()
		l.gaps.start(l.count, l.size, now)
		l.mu.Unlock()
	}
	s.cpuAt = clock.CPU()
	return struct{}{}, nil
}

func (s *session) report(struct{}) (Outage, error) {
	return s.outcome(), nil
}

// outcome sums up what the lists went through since they are watched.
func (s *session) outcome() Outage {
	out := Outage{CPU: clock.CPU() - s.cpuAt}
	now := clock.Now()
	for _, l := range s.recorder.lists {
		l.mu.Lock()
		g := l.gaps.stop(now)
		l.mu.Unlock()
		out.Calls += g.calls
		out.EmptyCalls += g.emptyCalls
		out.EmptySumNS += g.emptyFor
		out.ShortSumNS += g.shortFor
		out.EmptyMaxNS = max(out.EmptyMaxNS, g.emptyMax)
		if g.emptyFor > 0 {
			out.EmptyApps++
		}
		if g.shortFor > 0 {
			out.ShortApps++
		}
	}
	out.MissingAtEnd, _ = s.recorder.missing()
	return out
}

// counts are totals since the process began.
type counts struct{ objects, bytes, messages, traffic int64 }

func (s *session) count() counts {
	read := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(read)
	c := counts{objects: int64(read[0].Value.Uint64()), bytes: int64(read[1].Value.Uint64())}
	c.messages, c.traffic = s.tap.traffic()
	return c
}

// heapAlive returns the bytes of objects that are reachable. It collects twice:
// what finalizers and pools held through the first is gone after the second.
func heapAlive() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
