package run

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
)

// InterruptError is the cause with which the contexts of Signals end.
type InterruptError struct{ Signal os.Signal }

// Error names the signal.
func (e *InterruptError) Error() string { return fmt.Sprintf("interrupted by signal %q", e.Signal) }

// Signals turns signals into the two ends of a life: stop ends with the first
// of the signals, force with the second. A third one finds the default
// behaviour restored and ends the process. release gives the signals back and
// ends both contexts. Only a main function calls it.
func Signals(parent context.Context, signals ...os.Signal) (stop, force context.Context, release func()) {
	stop, cancelStop := context.WithCancelCause(parent)
	// Not a child's fate: the end of parent asks for an orderly stop only.
	force, cancelForce := context.WithCancelCause(context.WithoutCancel(parent))
	got := make(chan os.Signal, 2)
	signal.Notify(got, signals...)
	released := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, cancel := range []context.CancelCauseFunc{cancelStop, cancelForce} {
			select {
			case s := <-got:
				cancel(&InterruptError{Signal: s})
			case <-released:
				return
			}
		}
		signal.Stop(got)
	}()
	once := sync.OnceFunc(func() { close(released) })
	return stop, force, func() {
		signal.Stop(got)
		once()
		<-ended
		cancelStop(nil)
		cancelForce(nil)
	}
}
