//go:build linux

package consumer

import (
	"context"
	"time"

	"github.com/weirmesh/weir/test/bench/plan"
)

// EndArgs say what the lists are waited to become.
type EndArgs struct {
	// Generation of the instances that are there at the end: 0 or 1.
	Generation int           `json:"generation"`
	Timeout    time.Duration `json:"timeout"`
}

// Upgraded tells what the lists went through while every instance gave way to
// another.
type Upgraded struct {
	Outage
	// Left has, by instance, when the list that lacked it had been handed on: 0
	// while that never happened.
	Left []int64 `json:"left"`
	// Returned counts the addresses that were listed again after they had left.
	Returned int64 `json:"returned"`
	// Fewest is the smallest list there was, as a share of the whole.
	Fewest  float64 `json:"fewest"`
	Traffic int64   `json:"traffic"` // bytes from the server
}

// exits notes when instances leave a list. It begins with start.
type exits struct {
	on     bool
	size   int
	left   []int64 // by slot
	going  []int   // slots that the list being handed on lacks
	back   int64
	fewest int
}

func (e *exits) start(slots, size, count int) {
	*e = exits{on: true, size: size, left: make([]int64, slots), fewest: count}
}

// note compares a list with the one before it.
func (e *exits) note(before, after []bool, count int) {
	if !e.on {
		return
	}
	e.fewest = min(e.fewest, count)
	for slot, here := range after {
		switch {
		case before[slot] && !here:
			e.going = append(e.going, slot)
		case !before[slot] && here && e.left[slot] != 0:
			e.back++
		}
	}
}

// returned notes that the list was handed on.
func (e *exits) returned(now int64) {
	for _, slot := range e.going {
		e.left[slot] = now
	}
	e.going = e.going[:0]
}

// holds reports whether the list has those of one generation and no others.
func (l *list) holds(generation int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot, here := range l.present {
		if here != (slot/l.size == generation) {
			return false
		}
	}
	return true
}

func (s *session) begin(struct{}) (struct{}, error) {
	if _, err := s.watch(struct{}{}); err != nil {
		return struct{}{}, err
	}
	for _, l := range s.recorder.lists {
		l.mu.Lock()
		l.exits.start(len(l.present), l.size, l.count)
		l.mu.Unlock()
	}
	s.countsAt = s.count()
	return struct{}{}, nil
}

func (s *session) end(args EndArgs) (Upgraded, error) {
	ctx, cancel := context.WithTimeout(context.Background(), args.Timeout)
	defer cancel()
	_ = s.recorder.until(ctx, func() bool { // an address that never leaves is a result
		for _, l := range s.recorder.lists {
			if !l.holds(args.Generation) {
				return false
			}
		}
		return true
	})
	out := Upgraded{Outage: s.outcome(), Left: make([]int64, s.args.Plan.Total()), Fewest: 1}
	out.Traffic = s.count().traffic - s.countsAt.traffic
	for i := range out.Left {
		l := s.recorder.lists[s.args.Plan.App(i)]
		out.Left[i] = l.leftAt(s.args.Plan, i)
	}
	for _, l := range s.recorder.lists {
		l.mu.Lock()
		out.Returned += l.exits.back
		out.Fewest = min(out.Fewest, float64(l.exits.fewest)/float64(l.size))
		l.mu.Unlock()
	}
	return out, nil
}

func (l *list) leftAt(p plan.Plan, instance int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.exits.left[p.Slot(instance)]
}
