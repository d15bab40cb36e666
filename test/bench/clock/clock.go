// Package clock reads the one clock that all processes of a run share.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns nanoseconds of CLOCK_MONOTONIC. Unlike a time.Time's own monotonic
// reading, it means the same in every process of the machine, and unlike wall
// time it does not step.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // cannot happen on a Linux with this clock, which is every one
	}
	return ts.Nano()
}

// CPU returns the processor time, user and system, that this process has used,
// in nanoseconds.
func CPU() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// Of returns what Now returned at t, a time of this process's own clock.
func Of(t time.Time) int64 { return Now() - int64(time.Since(t)) }
