package proc

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// errParentEnded is the cause of a context that ended with the parent.
var errParentEnded = errors.New("the process that called this one ended")

// WithParent returns a context that ends when the process that started this
// one does, however it ends. Unlike the kernel's parent death signal it does
// not mind which of the parent's threads did the starting.
func WithParent(ctx context.Context) (context.Context, context.CancelFunc, error) {
	parent := os.Getppid()
	fd, err := unix.PidfdOpen(parent, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || os.Getppid() != parent {
		return nil, nil, errParentEnded
	}
	if err != nil {
		return nil, nil, fmt.Errorf("watch the process that called this one: %w; leave out --with-parent", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// A second descriptor becomes readable when the watch is to end.
	r, w, err := os.Pipe()
	if err != nil {
		cancel(nil)
		unix.Close(fd)
		return nil, nil, fmt.Errorf("watch the process that called this one: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd)
		defer r.Close()
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(fds, -1)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n > 0 && fds[0].Revents != 0 {
				cancel(errParentEnded)
			}
			return
		}
	}()
	return ctx, func() {
		cancel(nil)
		w.Close()
		<-done
	}, nil
}
