package hystrix

import (
	"testing"

	"github.com/weirmesh/weir/governance"
)

// What is counted while the clock is an hour ahead must not hold back what is
// counted for an hour after it was set right.
func TestAdoptedSecondsFollowAClockSetBack(t *testing.T) {
	c := &adopted{}
	count := func(unix int64) { s := c.second(unix); s.counts = s.counts.Add(governance.Counts{Success: 1}) }
	told := func(unix int64) (n int64) {
		for _, s := range c.collect(nil, unix) {
			n += s.Counts.Success
		}
		return n
	}
	const now, ahead = 1000, 4600
	all := int64(0)
	for _, unix := range []int64{ahead, now, now + 1, now + 2, now + 3, now + 4} {
		count(unix)
		all += told(unix)
	}
	if all += told(now + 10); all != 6 {
		t.Errorf("%d of 6 calls were told", all)
	}
	if n := len(c.seconds); n > 10 {
		t.Errorf("%d seconds are kept", n)
	}
}
