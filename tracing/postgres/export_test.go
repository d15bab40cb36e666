package postgres

import (
	"context"
	"math"

	"github.com/weirmesh/weir/tracing"
)

// TrainAfter lets a store train a dictionary on fewer fragments.
func TrainAfter(s *Store, fragments int) { s.train.wanted = fragments }

// Train trains a dictionary if enough was sampled.
func Train(ctx context.Context, s *Store) error {
	_, err := s.trainIfDue(ctx)
	return err
}

// KnowAtMost bounds how many rows of tracing.dirty the linker knows at once.
func KnowAtMost(s *Store, rows int) { s.link.most = rows }

// Waiting is how many spans wait to be written.
func Waiting(s *Store) int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.spans
}

// Statements are those of a walk and of a look into the index of terms.
func Statements(q tracing.Query) (walk, byTerm string) {
	x := &search{q: q, service: hashString(q.Service)}
	x.lo, x.hi = q.Window()
	s := &slice{end: x.lo, lo: x.hi + 1, width: firstSlice}
	s.next()
	c := x.conditions()[0]
	behind := candidate{s.hi, math.MaxInt64}
	return x.sql("at, trace", s, &c, behind, pageRows), x.termSQL(s, c.term, behind)
}

// Fail is what an error of the database becomes.
func Fail(ctx context.Context, s *Store, err error) error {
	return s.fail(ctx, err, "store spans")
}

// Hold keeps writers from starting until release is called; what waits then makes
// one batch, if it is small enough.
func Hold(s *Store) (release func()) {
	q := &s.queue
	q.mu.Lock()
	q.writers = s.cfg.Writers
	q.mu.Unlock()
	return func() { s.writer() }
}

// Reads is how many readings of traces may run at once.
func Reads(s *Store) int { return cap(s.reads) }

// Reading takes one of them.
func Reading(ctx context.Context, s *Store) (release func(), err error) { return s.reading(ctx) }
