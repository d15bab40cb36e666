package agentless

import (
	"cmp"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weirmesh/weir/governance"
)

// tally is what a process has counted of one series since its start.
type tally struct {
	success, failed, ignored float64
	notPermitted             float64 // by a circuit that had opened; of one that is held open nothing is counted here
	limited                  float64 // refused by a bulkhead
	timeouts                 float64 // among failed
	buckets                  map[float64]float64
	longest                  float64 // seconds, of the last minutes
	// most is what no call since the last answer took longer than, in seconds; 0 for
	// not known.
	most     float64
	inFlight float64
	// parts are the counters of Dubbo's that the above are made of, and old those among
	// them that the answer lacks: since how many answers (dubbotally.go).
	parts map[string]float64
	old   map[string]int
}

// tallies is what one answer says, by series.
type tallies struct {
	all map[governance.Series]*tally
	// told is whether calls are counted at all, started when the process began, as it
	// says; 0 for not said.
	told    bool
	started float64
}

// of is the tally of a series; nil if there is no room for one more.
func (t *tallies) of(s governance.Series) *tally {
	one := t.all[s]
	if one == nil && len(t.all) < maxCommands {
		one = &tally{}
		t.all[s] = one
	}
	return one
}

// series are sorted.
func (t *tallies) series() []governance.Series {
	return slices.SortedFunc(maps.Keys(t.all), governance.Series.Compare)
}

// measured reports whether any calls have come with a histogram, or none at all.
func (t *tallies) measured() bool {
	for _, one := range t.all {
		if len(one.buckets) > 0 {
			return true
		}
	}
	return !t.called()
}

// called reports whether there were any calls that ran.
func (t *tallies) called() bool {
	for _, one := range t.all {
		if one.success+one.failed+one.ignored != 0 {
			return true
		}
	}
	return false
}

func atProvider(command string) governance.Series {
	return governance.Series{Command: command, At: governance.Provider}
}

// families reads Prometheus' text.
func families(r io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(r)
}

// value is that of a counter, a gauge, or what has no type; what cannot be one is 0.
func value(m *dto.Metric) float64 {
	v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	if !(v > 0) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// histogram takes in the buckets of a histogram.
func (t *tally) histogram(m *dto.Metric) {
	for _, b := range m.GetHistogram().GetBucket() {
		if t.buckets == nil {
			t.buckets = map[float64]float64{}
		}
		if bound := b.GetUpperBound(); !math.IsNaN(bound) {
			t.buckets[bound] += float64(b.GetCumulativeCount())
		}
	}
}

// since is what was counted after before; all of it, and false, if the counters
// have begun anew.
func (t *tally) since(before *tally) (counts governance.Counts, above func(rank float64) time.Duration, ok bool) {
	if t.success < before.success || t.failed < before.failed || t.ignored < before.ignored ||
		t.notPermitted < before.notPermitted || t.timeouts < before.timeouts || t.limited < before.limited {
		counts, above, _ = t.since(&tally{})
		return counts, above, false
	}
	counts = governance.Counts{
		Success: whole(t.success - before.success), Failure: whole(t.failed - before.failed), Ignored: whole(t.ignored - before.ignored),
		ShortCircuited: whole(t.notPermitted - before.notPermitted), Rejected: whole(t.limited - before.limited),
	}
	counts.Timeout = min(whole(t.timeouts-before.timeouts), counts.Failure)
	counts.Failure -= counts.Timeout
	return counts, t.measure(before), true
}

// measure tells how long the calls since before lasted, as far as buckets tell: the
// bound of the bucket that a rank, in percent, is in. It is nil where they do not.
func (t *tally) measure(before *tally) func(rank float64) time.Duration {
	bounds := slices.SortedFunc(maps.Keys(t.buckets), cmp.Compare[float64])
	sums := make([]float64, len(bounds))
	longest, all := t.longest, 0.0
	for i, bound := range bounds {
		all = max(all, t.buckets[bound]-before.buckets[bound])
		sums[i] = all
		if !math.IsInf(bound, 1) {
			longest = max(longest, bound)
		}
	}
	if all <= 0 {
		return nil
	}
	most := cmp.Or(t.most, math.Inf(1))
	return func(rank float64) time.Duration {
		i, _ := slices.BinarySearch(sums, rank/100*all)
		bound := bounds[min(i, len(bounds)-1)]
		if math.IsInf(bound, 1) {
			bound = longest
		}
		const longestCall = float64(time.Hour / time.Second)
		return time.Duration(min(max(min(bound, most), 0), longestCall) * float64(time.Second))
	}
}

// counting turns answers with counters into samples: what has come to them since the
// answer before.
type counting struct {
	tallies *tallies // the last, nil for none yet
	tallied time.Time
	lossy   bool // what is counted next is known to be incomplete
	// names are the series that the process has had, as far as they are collected: it
	// may make ever new ones.
	names map[governance.Series]bool
}

func newCounting() counting { return counting{names: map[governance.Series]bool{}} }

// room reports whether there is room for what a series counts.
func (c *counting) room(s governance.Series) bool {
	if !c.names[s] && len(c.names) < maxCommands {
		c.names[s] = true
	}
	return c.names[s]
}

const (
	// maxSpread is the longest time between two answers over which what was counted
	// is spread; after a longer one it is not known when calls were.
	maxSpread = 10 * time.Minute
	// maxJump is by how much a wall clock may go otherwise than time does: within it, it
	// is kept right.
	maxJump = 2 * time.Second
)

// stretch is the seconds between two answers.
type stretch struct {
	first   int64
	seconds int
	lossy   bool
}

// advance takes an answer, and returns the one before and the seconds between: nil
// where there is none, or none that tells when calls were. gap is a time that is then
// given up.
func (c *counting) advance(now *tallies, at time.Time, between time.Duration) (before *tallies, over stretch, gap time.Duration) {
	before, since, lossy := c.tallies, c.tallied, c.lossy
	c.tallies, c.tallied = now, at
	if before == nil {
		return nil, stretch{}, 0 // since when, nobody knows
	}
	// A wall clock that was set tells neither when calls were nor how long ago.
	jump := at.Round(0).Sub(since.Round(0)) - between
	if between > maxSpread || between < 0 || jump.Abs() > maxJump {
		c.lossy = true
		return nil, stretch{}, max(between, 0)
	}
	c.lossy = false
	first := since.Unix()
	return before, stretch{first, max(1, int(at.Unix()-first)), lossy}, 0
}

// lay spreads counts evenly over the seconds, so that their sum is the counts. The
// samples are like the one given in all else.
func (s stretch) lay(like governance.Sample, counts governance.Counts, above func(float64) time.Duration) []governance.Sample {
	if counts == (governance.Counts{}) {
		return nil
	}
	like.InFlight, like.Lossy = max(0, like.InFlight), like.Lossy || s.lossy
	var out []governance.Sample
	layout := newLayout(above, counts.Ran())
	for i := range s.seconds {
		part := share(counts, i, s.seconds)
		if part == (governance.Counts{}) {
			continue
		}
		like.Second, like.Counts, like.Latency = s.first+int64(i), part, layout.next(part.Ran())
		out = append(out, like)
	}
	return out
}
