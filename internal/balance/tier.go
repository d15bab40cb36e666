package balance

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// By is how a member is chosen.
type By uint8

// Ways to choose.
const (
	LeastRequests By = iota
	RoundRobin
	Random
)

// WarmUp is over how long an instance that says when it started comes to its full
// share of calls.
const WarmUp = time.Minute

// rewarm is how often the shares of instances that warm up are computed anew.
const rewarm = time.Second

// entry is a member with its share.
type entry[C Conn] struct {
	*Member[C]
	weight  int
	started int64 // Unix nanoseconds; 0 where it is not known
}

// tier is members among which the choice is free. But for its shares, which change
// while instances warm up, it is immutable.
type tier[C Conn] struct {
	entries []entry[C]
	turn    *atomic.Uint64
	// shares are the running sums of the weights; nil when all are equal.
	shares atomic.Pointer[[]int]
	// stale is when the shares have to be computed anew; 0 for never.
	stale atomic.Int64
}

func newTier[C Conn](entries []entry[C], turn *atomic.Uint64, warmUp time.Duration, now time.Time) *tier[C] {
	t := &tier[C]{entries: entries, turn: turn}
	t.weigh(warmUp, now.UnixNano())
	return t
}

// weigh computes the share of each member: the weight that its instance asks for,
// and less while that warms up. Where none asks for any all are equal.
func (t *tier[C]) weigh(warmUp time.Duration, now int64) {
	equal, warming := true, false
	sum := 0
	shares := make([]int, len(t.entries))
	first := 0
	for i := range t.entries {
		e := &t.entries[i]
		w := max(e.weight, 0) * scale
		if up := now - e.started; e.started != 0 && up < int64(warmUp) && w > 0 {
			warming = true
			w = max(int(float64(w)*float64(max(up, 0))/float64(warmUp)), 1)
		}
		if i == 0 {
			first = w
		}
		equal = equal && w == first
		sum += w
		shares[i] = sum
	}
	if equal || sum == 0 {
		t.shares.Store(nil)
	} else {
		t.shares.Store(&shares)
	}
	if warming {
		t.stale.Store(now + int64(rewarm))
	} else {
		t.stale.Store(0)
	}
}

// scale keeps small weights apart while they warm up.
const scale = 1000

// at returns the member that lies at a point between 0 and 1 of all shares.
func (t *tier[C]) at(shares *[]int, point float64) *entry[C] {
	if shares == nil {
		return &t.entries[min(int(point*float64(len(t.entries))), len(t.entries)-1)]
	}
	sum := (*shares)[len(*shares)-1]
	i, _ := slices.BinarySearch(*shares, 1+min(int(point*float64(sum)), sum-1))
	return &t.entries[i]
}

// share is that of one member.
func (t *tier[C]) share(shares *[]int, e *entry[C]) int64 {
	if shares == nil {
		return 1
	}
	return int64(max(e.weight, 1))
}

// choose returns a member that takes connections and was not tried, nil when two
// attempts and a look at all find none.
func (t *tier[C]) choose(by By, tried []*Member[C], warmUp time.Duration, now int64) *Member[C] {
	if len(t.entries) == 0 {
		return nil
	}
	if at := t.stale.Load(); at != 0 && now >= at && t.stale.CompareAndSwap(at, now+int64(rewarm)) {
		t.weigh(warmUp, now)
	}
	shares := t.shares.Load()
	ok := func(e *entry[C]) bool { return !e.Ejected(now) && !slices.Contains(tried, e.Member) }
	for range 2 {
		var a *entry[C]
		switch by {
		case RoundRobin:
			// Steps of the golden ratio visit all evenly, whatever their weights.
			const golden = 0.6180339887498949
			n := t.turn.Add(1) - 1
			if shares == nil {
				a = &t.entries[n%uint64(len(t.entries))]
			} else {
				point := golden * float64(n%(1<<32))
				a = t.at(shares, point-float64(uint64(point)))
			}
		case Random:
			a = t.at(shares, rand.Float64())
		default:
			b := t.at(shares, rand.Float64())
			a = t.at(shares, rand.Float64())
			if b == a && len(t.entries) == 2 && shares == nil {
				b = &t.entries[0]
				if b == a {
					b = &t.entries[1]
				}
			}
			if ok(b) && (!ok(a) || b.active.Load()*t.share(shares, a) < a.active.Load()*t.share(shares, b)) {
				a = b
			}
		}
		if ok(a) && a.claim(now) {
			return a.Member
		}
	}
	// Few are left: take the idlest of them.
	var best *entry[C]
	for i := range t.entries {
		e := &t.entries[i]
		if ok(e) && (best == nil || e.active.Load() < best.active.Load()) {
			best = e
		}
	}
	if best != nil && best.claim(now) {
		return best.Member
	}
	return nil
}

// last returns the idlest member that was not tried, though it is ejected.
func (t *tier[C]) last(tried []*Member[C]) *Member[C] {
	var best *Member[C]
	for i := range t.entries {
		m := t.entries[i].Member
		if !slices.Contains(tried, m) && (best == nil || m.active.Load() < best.active.Load()) {
			best = m
		}
	}
	return best
}
