//go:build linux

package consumer

import (
	"testing"

	"github.com/weirmesh/weir/test/bench/plan"
)

func TestExitsAreNotedByTheListThatLacksThem(t *testing.T) {
	p := plan.Plan{Instances: 4, Apps: 2, Upgrade: true} // application 0 has 0 and 2, then 4 and 6
	s := &session{args: OpenArgs{Plan: p}, recorder: newRecorder(p), tap: &tap{}}
	l := s.recorder.lists[0]
	told(t, l, 0, 2)
	told(t, s.recorder.lists[1], 1, 3)
	if !s.recorder.full() {
		t.Fatal("the first generation is there, and the lists are not full")
	}
	if _, err := s.begin(struct{}{}); err != nil {
		t.Fatal(err)
	}
	told(t, l, 2)
	first := l.leftAt(p, 0)
	if first == 0 || l.leftAt(p, 2) != 0 || l.leftAt(p, 4) != 0 {
		t.Fatalf("0 left at %d, 2 at %d, 4 at %d", first, l.leftAt(p, 2), l.leftAt(p, 4))
	}
	told(t, l, 2, 4)
	if l.holds(1) || l.holds(0) {
		t.Error("one of each generation is a whole")
	}
	told(t, l, 0, 2, 4) // 0 is back
	told(t, l, 4, 6)
	if again := l.leftAt(p, 0); again <= first {
		t.Errorf("0 left at %d at last, and at %d at first", again, first)
	}
	told(t, s.recorder.lists[1], 5, 7)
	out, err := s.end(EndArgs{Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	if out.Returned != 1 || out.Fewest != 0.5 || out.EmptyCalls != 0 || out.MissingAtEnd != 0 {
		t.Errorf("got %+v", out)
	}
	for i, at := range out.Left {
		if gone := at != 0; gone != (i < p.Instances) {
			t.Errorf("instance %d left at %d", i, at)
		}
	}
}

func TestWhatNeverLeavesIsToldOfAtTheEnd(t *testing.T) {
	p := plan.Plan{Instances: 2, Apps: 1, Upgrade: true}
	s := &session{args: OpenArgs{Plan: p}, recorder: newRecorder(p), tap: &tap{}}
	told(t, s.recorder.lists[0], 0, 1)
	if _, err := s.begin(struct{}{}); err != nil {
		t.Fatal(err)
	}
	told(t, s.recorder.lists[0])
	told(t, s.recorder.lists[0], 0, 2)
	out, err := s.end(EndArgs{Generation: 1}) // no time at all
	if err != nil {
		t.Fatal(err)
	}
	if out.Left[1] == 0 || out.Fewest != 0 || out.EmptyCalls != 1 || out.EmptyApps != 1 {
		t.Errorf("got %+v", out)
	}
}
