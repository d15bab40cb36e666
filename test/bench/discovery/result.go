//go:build linux

package discovery

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/report"
	"github.com/weirmesh/weir/test/bench/sample"
)

// Change is one measured change.
type Change struct {
	consumer.Settled
	Round int  `json:"round"`
	Up    bool `json:"up"`
	// Asked and Taken are when the change was written and when the server had
	// acknowledged it.
	Asked int64 `json:"asked"`
	Taken int64 `json:"taken"`
}

// Result is everything measured of one subject.
type Result struct {
	Subject consumer.Backend  `json:"subject"`
	Fixed   consumer.Opened   `json:"fixed"` // a consumer of nothing
	Opened  []consumer.Opened `json:"opened"`
	Changes []Change          `json:"changes"`
	// Failed is why nothing more was measured of it; empty where nothing went wrong.
	Failed  string   `json:"failed,omitempty"`
	Outage  *Outage  `json:"outage,omitempty"`
	Upgrade *Upgrade `json:"upgrade,omitempty"`
	// Idle is the processor time of a while in which nothing changed, in
	// nanoseconds; nil where that was not measured.
	Idle *int64 `json:"idleNS,omitempty"`
	// FixedIdle is that of a consumer of nothing, and ProcessIdle that of a process of
	// its kind without a registry.
	FixedIdle   *int64 `json:"fixedIdleNS,omitempty"`
	ProcessIdle *int64 `json:"processIdleNS,omitempty"`
	// ServerMemory is resident, in bytes, at the end; 0 if unknown.
	ServerMemory uint64 `json:"serverMemory,omitempty"`
}

// Outage is what a consumer went through while its registry was away.
type Outage struct {
	consumer.Outage
	// Follows is how long the first change after the outage took from write to
	// notification, in nanoseconds; 0 if it never came.
	Follows int64 `json:"followsNS"`
}

// of collects one number of every change that has it.
func (r *Result) of(value func(Change) (int64, bool)) *sample.Set {
	s := &sample.Set{}
	if r == nil {
		return s
	}
	for _, c := range r.Changes {
		if v, ok := value(c); ok {
			s.Add(float64(v))
		}
	}
	return s
}

func (r *Result) ofOpened(value func(consumer.Opened) (float64, bool)) *sample.Set {
	s := &sample.Set{}
	if r != nil {
		for _, o := range r.Opened {
			if v, ok := value(o); ok {
				s.Add(v)
			}
		}
	}
	return s
}

func (r *Result) missed() float64 {
	return r.count(func(c Change) bool { return c.Notified == 0 })
}

func (r *Result) restless() float64 {
	return r.count(func(c Change) bool { return c.Restless })
}

func (r *Result) count(of func(Change) bool) float64 {
	if r == nil || len(r.Changes) == 0 {
		return math.NaN()
	}
	n := 0
	for _, c := range r.Changes {
		if of(c) {
			n++
		}
	}
	return float64(n)
}

// fromEvent is from the first message of a change read by the consumer's own
// connection until the notification that brought it returned.
func fromEvent(c Change) (int64, bool) {
	return c.Notified - c.Arrived, c.Notified != 0 && c.Arrived != 0
}

// fromWrite is from the write until then.
func fromWrite(c Change) (int64, bool) { return c.Notified - c.Asked, c.Notified != 0 }

// fromObserved is from when the hub says it learnt of the change until then.
func fromObserved(c Change) (int64, bool) {
	return c.Notified - c.Observed, c.Notified != 0 && c.Observed != 0
}

// Report is one run's results.
type Report struct {
	Options Options
	// Load is the machine's load average before the run began: what others did
	// on it meanwhile is in every number.
	Load    float64
	Results map[consumer.Backend]*Result
}

func (r Report) columns() (names []string, results []*Result) {
	for _, b := range []consumer.Backend{consumer.Weir, consumer.ZooKeeper, consumer.Hub} {
		names = append(names, map[consumer.Backend]string{
			consumer.Weir: "Weir", consumer.ZooKeeper: "ZooKeeper", consumer.Hub: "Weir, no dubbo-go",
		}[b])
		results = append(results, r.Results[b])
	}
	return names, results
}

// Write prints the run for a reader.
func (r Report) Write(w io.Writer) error {
	p := r.Options.Plan
	names, results := r.columns()
	t := report.Table{Columns: names, Compare: "ZooKeeper/Weir"}
	if r.Options.Outage {
		if _, err := fmt.Fprintf(w, "\nRegistry away for %s, lists watched %s longer: %d instances of %d applications, all alive throughout; %s\n\n",
			r.Options.Down, r.Options.After, p.Instances, p.Apps, r.machine()); err != nil {
			return err
		}
		outageRows(&t, results)
		return t.Write(w)
	}
	if r.Options.Upgrade {
		return r.writeUpgrade(w, &t, results)
	}
	if _, err := fmt.Fprintf(w, "\nOne consumer of %d instances of %d applications; %d rounds, %d changes of one instance each; %s\n\n",
		p.Instances, p.Apps, r.Options.Rounds, r.Options.changes()*r.Options.Rounds, r.machine()); err != nil {
		return err
	}
	changeRows(&t, results)
	holdingRows(&t, results, r.Options)
	if r.Options.Idle > 0 {
		idleRows(&t, results, r.Options.Idle)
	}
	serverRows(&t, results)
	if err := t.Write(w); err != nil {
		return err
	}
	for i, res := range results {
		if res != nil && res.Failed != "" {
			if _, err := fmt.Fprintf(w, "\n%s broke off in %s\n", names[i], res.Failed); err != nil {
				return err
			}
		}
	}
	return r.writePromise(w)
}

func (r Report) machine() string {
	return fmt.Sprintf("%d CPUs, load average %.1f before", runtime.NumCPU(), r.Load)
}

// promised is what DESIGN says of a first change: p99, in nanoseconds.
const promised = 20e6

func (r Report) writePromise(w io.Writer) error {
	events := r.Results[consumer.Weir].of(fromEvent)
	if events.Len() == 0 {
		return nil
	}
	p99, verdict := events.Quantile(0.99), "kept"
	if p99 >= promised || r.Results[consumer.Weir].missed() > 0 {
		verdict = "NOT kept in this run"
	}
	_, err := fmt.Fprintf(w, "\nPromise: watch event → NotifyAll returned, p99 under %s: %s (%s of %d)\n",
		report.Format(promised, report.Time), verdict, report.Format(p99, report.Time), events.Len())
	return err
}

func changeRows(t *report.Table, results []*Result) {
	row := func(title string, u report.Unit, value func(*Result) float64) {
		t.Row(title, u, each(results, value)...)
	}
	quantiles := func(title string, value func(Change) (int64, bool)) {
		for _, q := range []struct {
			name string
			at   float64
		}{{"p50", 0.5}, {"p99", 0.99}, {"max", 1}} {
			row(title+", "+q.name, report.Time, func(r *Result) float64 { return r.of(value).Quantile(q.at) })
		}
	}
	// What goes on for longer than a change is given is nobody's cost of one change.
	mean := func(title string, u report.Unit, value func(Change) int64) {
		row(title, u, func(r *Result) float64 {
			return r.of(func(c Change) (int64, bool) { return value(c), !c.Restless }).Mean()
		})
	}
	t.Section("How soon a change is known")
	quantiles("watch event read → NotifyAll returned", fromEvent)
	quantiles("change written → NotifyAll returned", fromWrite)
	quantiles("hub observed → NotifyAll returned", fromObserved)
	t.RowAlone("changes measured", report.Number, each(results, func(r *Result) float64 { return float64(r.of(fromWrite).Len()) })...)
	t.RowAlone("changes that never came", report.Number, each(results, (*Result).missed)...)
	t.RowAlone(fmt.Sprintf("changes with lists still told of something %s later", changeTimeout), report.Number, each(results, (*Result).restless)...)
	t.Section("What a change costs the consumer, mean")
	mean("NotifyAll calls", report.Number, func(c Change) int64 { return c.Told })
	mean("of these with an empty list", report.Number, func(c Change) int64 { return c.Empty })
	mean("processor time", report.Time, func(c Change) int64 { return c.CPU })
	mean("allocations", report.Number, func(c Change) int64 { return c.Objects })
	mean("allocated", report.Size, func(c Change) int64 { return c.Bytes })
	mean("messages from the server", report.Number, func(c Change) int64 { return c.Messages })
	mean("bytes from the server", report.Size, func(c Change) int64 { return c.Traffic })
}

func holdingRows(t *report.Table, results []*Result, o Options) {
	instances := float64(o.Plan.Instances)
	row := func(title string, u report.Unit, value func(consumer.Opened) float64) {
		t.Row(title, u, each(results, func(r *Result) float64 {
			return r.ofOpened(func(o consumer.Opened) (float64, bool) { return value(o), true }).Median()
		})...)
	}
	t.Section("What the list costs the consumer, median of rounds")
	t.Row("heap per instance", report.Size, each(results, func(r *Result) float64 {
		return r.ofOpened(func(o consumer.Opened) (float64, bool) { return float64(o.Heap-r.Fixed.Heap) / instances, true }).Median()
	})...)
	t.RowAlone("of these cached, with nobody who asks", report.Size, each(results, func(r *Result) float64 {
		return r.ofOpened(func(o consumer.Opened) (float64, bool) {
			return float64(o.Cached-r.Fixed.Heap) / instances, o.Cached != 0
		}).Median()
	})...)
	t.Row("heap of a registry with nothing in it", report.Size, each(results, func(r *Result) float64 {
		if r == nil {
			return math.NaN()
		}
		return float64(r.Fixed.Heap)
	})...)
	row("goroutines", report.Number, func(o consumer.Opened) float64 { return float64(o.Goroutines) })
	row("resident memory", report.Size, func(o consumer.Opened) float64 { return float64(o.RSS) })
	row("first Subscribe → every list complete", report.Time, func(o consumer.Opened) float64 { return float64(o.SubscribeNS) })
	row("processor time of that", report.Time, func(o consumer.Opened) float64 { return float64(o.CPUNS) })
	row("NotifyAll calls of that", report.Number, func(o consumer.Opened) float64 { return float64(o.Told) })
	row("bytes from the server for that", report.Size, func(o consumer.Opened) float64 { return float64(o.TrafficIn) })
}

func serverRows(t *report.Table, results []*Result) {
	t.Section("The server")
	t.RowAlone("resident memory", report.Size, each(results, func(r *Result) float64 {
		if r == nil || r.ServerMemory == 0 || r.Subject == consumer.Hub {
			return math.NaN()
		}
		return float64(r.ServerMemory)
	})...)
}

// idleRows take apart what a consumer costs while nothing changes: a process of this
// kind costs something, and so does a registry with nothing in it.
func idleRows(t *report.Table, results []*Result, idle time.Duration) {
	row := func(title string, of func(*Result) *int64) {
		t.RowAlone(title, report.Time, each(results, func(r *Result) float64 {
			if r == nil || of(r) == nil {
				return math.NaN()
			}
			return float64(*of(r))
		})...)
	}
	t.Section(fmt.Sprintf("Processor time of %s without a change", idle))
	row("a consumer of all", func(r *Result) *int64 { return r.Idle })
	row("of these a registry with nothing in it", func(r *Result) *int64 { return r.FixedIdle })
	row("of these a process without a registry", func(r *Result) *int64 { return r.ProcessIdle })
}

func outageRows(t *report.Table, results []*Result) {
	row := func(title string, u report.Unit, value func(*Outage) float64) {
		t.Row(title, u, each(results, func(r *Result) float64 {
			if r == nil || r.Outage == nil {
				return math.NaN()
			}
			return value(r.Outage)
		})...)
	}
	t.Section("Lists")
	row("applications whose list was empty at some time", report.Number, func(o *Outage) float64 { return float64(o.EmptyApps) })
	row("NotifyAll calls with an empty list", report.Number, func(o *Outage) float64 { return float64(o.EmptyCalls) })
	row("longest time a list was empty", report.Time, func(o *Outage) float64 { return float64(o.EmptyMaxNS) })
	row("time empty, summed over applications", report.Time, func(o *Outage) float64 { return float64(o.EmptySumNS) })
	row("applications whose list lacked somebody", report.Number, func(o *Outage) float64 { return float64(o.ShortApps) })
	row("time short, summed over applications", report.Time, func(o *Outage) float64 { return float64(o.ShortSumNS) })
	row("instances missing at the end", report.Number, func(o *Outage) float64 { return float64(o.MissingAtEnd) })
	t.Section("Work")
	row("NotifyAll calls", report.Number, func(o *Outage) float64 { return float64(o.Calls) })
	row("processor time of the consumer", report.Time, func(o *Outage) float64 { return float64(o.CPU) })
	row("first change afterwards, written → NotifyAll", report.Time, func(o *Outage) float64 {
		if o.Follows == 0 {
			return math.NaN()
		}
		return float64(o.Follows)
	})
}

func each(results []*Result, value func(*Result) float64) []float64 {
	out := make([]float64, len(results))
	for i, r := range results {
		out[i] = value(r)
	}
	return out
}
