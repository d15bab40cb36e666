//go:build linux

package samples

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/sketch"
)

var (
	app    = governance.App{Namespace: "bench", Name: "orders"}
	callee = governance.App{Namespace: "bench", Name: "inventory"}
)

// command is what one instance counts, and how much of it.
type command struct {
	governance.Series
	rate    float64 // calls per second, in the mean
	median  float64 // of their latency, in seconds
	failing float64 // how many of them fail
}

// commands are as a service has them: some that are served and some that are
// called, a few of them busy and many that are not asked for in every second.
func commands(n int) []command {
	out := make([]command, n)
	for i := range out {
		c := command{rate: 200 / float64((i+1)*(i+1)), median: 0.002 * float64(1+i%7), failing: 0.002}
		c.Command, c.At = fmt.Sprintf("GET /orders/{id}/part-%d", i), governance.Provider
		if i%2 == 1 {
			c.Command, c.At, c.Peer = fmt.Sprintf("InventoryService.method%d", i), governance.Caller, callee
		}
		out[i] = c
	}
	return out
}

// generator makes what instances report; the same seed makes the same.
type generator struct {
	random    *rand.Rand
	commands  []command
	instances int
	seq       int64
}

func newGenerator(seed uint64, instances, commandCount int) *generator {
	return &generator{random: rand.New(rand.NewPCG(seed, 1)), commands: commands(commandCount), instances: instances}
}

// second returns a report of each instance for one second, and how many samples
// are in them. A command that nobody called has none.
func (g *generator) second(at time.Time) (reports []governance.Report, samples int, err error) {
	g.seq++
	for i := range g.instances {
		r := governance.Report{
			Wire: governance.WireVersion, App: app, Instance: instance(i), Boot: "bench", Seq: g.seq, Sent: at.Add(time.Second),
		}
		for _, c := range g.commands {
			s, err := g.sample(c, at.Unix())
			if err != nil {
				return nil, 0, err
			}
			if s.Counts.Ran() > 0 {
				r.Samples = append(r.Samples, s)
			}
		}
		samples += len(r.Samples)
		reports = append(reports, r)
	}
	return reports, samples, nil
}

func instance(i int) string { return fmt.Sprintf("orders-7d9c5b6f4-%05d", i) }

func (g *generator) sample(c command, second int64) (governance.Sample, error) {
	s := governance.Sample{Series: c.Series, Second: second, State: governance.StateClosed}
	calls := g.poisson(c.rate)
	var latency sketch.Sketch
	var busy float64
	for range calls {
		seconds := c.median * math.Exp(g.random.NormFloat64()/2)
		latency.Add(time.Duration(seconds * 1e9))
		busy += seconds
		if g.random.Float64() < c.failing {
			s.Counts.Failure++
		} else {
			s.Counts.Success++
		}
	}
	if calls == 0 {
		return s, nil
	}
	s.InFlight = 1 + g.poisson(busy)
	var err error
	s.Latency, err = latency.MarshalBinary()
	return s, err
}

// poisson returns how many independent events come in a time that brings mean of
// them in the mean.
func (g *generator) poisson(mean float64) int {
	n := 0
	for t := g.random.ExpFloat64(); t < mean; t += g.random.ExpFloat64() {
		n++
	}
	return n
}
