package trace

import (
	"math"
	"sync/atomic"
)

// Sampler keeps a share of traces by their ids, with exactly the decisions of
// Zipkin's CollectorSampler: a trace is kept while the absolute value of the low
// 64 bits of its id is at most rate × 2⁶³−1. Since ids decide, all services
// agree without asking one another, and what a low rate keeps a higher one keeps
// as well. The rate can be changed at any time. A Sampler is safe for concurrent
// use; its zero value keeps nothing.
//
// zipkin-go's own boundary sampler decides otherwise and would tear traces that
// Java services share.
type Sampler struct {
	boundary atomic.Int64
	rate     atomic.Uint64 // math.Float64bits
}

// NewSampler returns a sampler; zero keeps everything, less than zero nothing.
func NewSampler(rate float64) *Sampler {
	s := new(Sampler)
	s.SetRate(rate)
	return s
}

// SetRate changes the rate; values have the meaning they have for NewSampler,
// and more than 1 is 1.
func (s *Sampler) SetRate(rate float64) {
	switch {
	case rate == 0 || rate > 1 || math.IsNaN(rate):
		rate = 1
	case rate < 0:
		rate = 0
	}
	s.rate.Store(math.Float64bits(rate))
	s.boundary.Store(boundary(rate))
}

// boundary computes in single precision and saturates, as Java's (long)
// (Long.MAX_VALUE * rate) does for a float rate.
func boundary(rate float64) int64 {
	b := float32(math.MaxInt64) * float32(rate)
	if b >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(b)
}

// Rate returns the share of traces that are kept, 0 to 1.
func (s *Sampler) Rate() float64 { return math.Float64frombits(s.rate.Load()) }

// Sample reports whether the trace whose id has these low 64 bits is kept.
func (s *Sampler) Sample(low uint64) bool {
	id := int64(low)
	switch {
	case id == math.MinInt64:
		id = math.MaxInt64
	case id < 0:
		id = -id
	}
	return id <= s.boundary.Load()
}
