// Package sample turns measured values into the few numbers a reader needs.
package sample

import (
	"math"
	"slices"
)

// Set is a collection of measured values of one kind and unit. The zero Set is
// empty and ready to use. It is not safe for concurrent use.
type Set struct {
	values []float64
	sorted bool
}

// Of returns a set of the given values.
func Of(values ...float64) *Set {
	s := &Set{}
	s.Add(values...)
	return s
}

// Add records values. Values that are not numbers are refused by a panic: they
// would silently spoil every percentile.
func (s *Set) Add(values ...float64) {
	for _, v := range values {
		if math.IsNaN(v) {
			panic("sample: not a number")
		}
	}
	s.values = append(s.values, values...)
	s.sorted = false
}

// Len returns the number of values.
func (s *Set) Len() int { return len(s.values) }

// Quantile returns the smallest value that at least q of all values do not
// exceed (the nearest rank: always a value that was measured, never one between
// two). q outside (0, 1] is taken for the nearest of the two ends. It is NaN for
// an empty set.
func (s *Set) Quantile(q float64) float64 {
	n := len(s.values)
	if n == 0 {
		return math.NaN()
	}
	if !s.sorted {
		slices.Sort(s.values)
		s.sorted = true
	}
	rank := int(math.Ceil(q * float64(n)))
	return s.values[min(max(rank, 1), n)-1]
}

// Median returns the 0.5 quantile.
func (s *Set) Median() float64 { return s.Quantile(0.5) }

// Max returns the largest value, NaN for an empty set.
func (s *Set) Max() float64 { return s.Quantile(1) }

// Mean returns the arithmetic mean, NaN for an empty set.
func (s *Set) Mean() float64 {
	if len(s.values) == 0 {
		return math.NaN()
	}
	return s.Sum() / float64(len(s.values))
}

// Sum returns the sum of all values.
func (s *Set) Sum() float64 {
	sum := 0.0
	for _, v := range s.values {
		sum += v
	}
	return sum
}

// Ratio returns a over b: how many times a is b. It is NaN where there is
// nothing to compare: a missing value, or zero over zero. Something over zero is
// infinite.
func Ratio(a, b float64) float64 { return a / b }
