package run_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/weirmesh/weir/internal/run"
)

func TestSignalsEndInTwoStages(t *testing.T) {
	stop, force, release := run.Signals(t.Context(), syscall.SIGUSR1)
	defer release()
	raise := func() {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	raise()
	<-stop.Done()
	var in *run.InterruptError
	if !errors.As(context.Cause(stop), &in) || in.Signal != syscall.SIGUSR1 {
		t.Errorf("cause %v", context.Cause(stop))
	}
	if force.Err() != nil {
		t.Fatal("one signal was enough to force")
	}
	raise()
	<-force.Done()
	release()
	release()
}

func TestSignalsParentAsksForAnOrderlyStopOnly(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	stop, force, release := run.Signals(parent, syscall.SIGUSR2)
	defer release()
	cancel()
	<-stop.Done()
	if force.Err() != nil {
		t.Error("the end of the parent forced the stop")
	}
}
