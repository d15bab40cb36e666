package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestProbesGoWhereAnInstanceServes(t *testing.T) {
	h := quietHub(Config{})
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.feed(serviceNamed("inventory"), false, now)
	h.feed(bigPod(0), false, now)
	plain := bigPod(1)
	plain.Annotations = nil
	h.feed(plain, false, now)
	s := bigSlice(0, 2)
	port := int32(8080)
	s.Ports = []discoveryv1.EndpointPort{{Port: &port}}
	h.feed(s, false, now)
	a := h.spaceOf("").apps[inventory]
	for i, want := range []string{"[10.0.0.0:20000]", "[10.0.0.1:8080]"} {
		l := &lost{endpoint: a.slices[0].endpoints[i]}
		if addresses := a.probed(l); fmt.Sprint(addresses) != want {
			t.Errorf("probed at %v, want %s", addresses, want)
		}
	}
	for name, c := range map[string]struct {
		want bool
		dead string
	}{
		"all answer": {true, ""}, "the first alone": {true, "b"}, "the second alone": {true, "a"}, "none answers": {false, "ab"},
	} {
		h := quietHub(Config{}) // of its own: a dial that lost the race may still be under way
		h.dial = func(_ context.Context, address string) error {
			if strings.Contains(c.dead, address) {
				return errors.New("refused")
			}
			return nil
		}
		if got := h.reach([]string{"a", "b"}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestDialTCP(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := dialTCP(t.Context(), listener.Addr().String()); err != nil {
		t.Errorf("somebody listens: %v", err)
	}
	// A port that is taken, so that nobody else takes it, and at which nobody listens.
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	if err := dialTCP(t.Context(), address); err == nil {
		t.Error("nobody listens, and somebody answered")
	}
}
