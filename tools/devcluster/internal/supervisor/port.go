package supervisor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// port keeps a TCP port of the loopback address for the API server: bound, not
// listening, and shared only with processes of the same user that ask for it.
// Nobody else gets it while the API server is starting or down.
type port struct {
	fd     int
	number int
}

// takePort takes the wanted port, or any if it is 0.
func takePort(wanted int) (*port, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve the API server's port: %w", err)
	}
	// A socket that listens without sharing must be seen as a conflict, so
	// sharing is asked for only after the bind has shown there is none.
	probe, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("reserve the API server's port: %w", err)
	}
	loopback := unix.SockaddrInet4{Port: wanted, Addr: [4]byte{127, 0, 0, 1}}
	// Connections of the last run that linger are no conflict.
	err = unix.SetsockoptInt(probe, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(probe, &loopback)
	}
	if err == nil && wanted == 0 {
		var name unix.Sockaddr
		if name, err = unix.Getsockname(probe); err == nil {
			if bound, ok := name.(*unix.SockaddrInet4); ok {
				loopback.Port = bound.Port
			}
		}
	}
	unix.Close(probe)
	if err == nil {
		// Without SO_REUSEADDR: with it, the probe of another cluster would not
		// see this one while its API server is down.
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
			unix.Bind(fd, &loopback),
		)
	}
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("port %d of 127.0.0.1 is taken: choose another with --port, or let one be chosen with --port 0", wanted)
		}
		if errors.Is(err, unix.EACCES) {
			return nil, fmt.Errorf("port %d needs root: choose one from 1024 on with --port", wanted)
		}
		return nil, fmt.Errorf("reserve the API server's port: %w", err)
	}
	return &port{fd: fd, number: loopback.Port}, nil
}

// release gives the port back. A second call does nothing.
func (p *port) release() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
	p.fd = -1
}
