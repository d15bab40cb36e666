package api

import (
	"math/rand/v2"
	"time"
)

// jitter returns d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	tenth := int64(d) / 10
	return d - time.Duration(tenth) + time.Duration(rand.Int64N(2*tenth+1))
}
