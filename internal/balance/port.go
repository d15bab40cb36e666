package balance

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/weirmesh/weir/registry"
)

// Port is where the instances of an application take calls.
type Port struct {
	Number uint16
	// Secured is set where they take TLS there.
	Secured bool
}

// PortOf returns the port of the instances behind a port of their Service, given by
// name or number. Without one it goes by the conventions of Spring Cloud Kubernetes:
// the Service's only port, the one that it names as primary, the one named http or
// https; https first for a caller that wants to speak TLS. The error says what the
// Service lacks.
func PortOf(s registry.Service, want string, secured bool) (Port, error) {
	number, _ := strconv.ParseUint(want, 10, 16)
	if len(s.Ports) == 0 && number > 0 {
		return Port{Number: uint16(number)}, nil
	}
	at := Find(s.Ports, want, secured)
	switch {
	case at < 0 && want == "" && len(s.Ports) == 0:
		return Port{}, errors.New("the Service has no port")
	case at < 0 && want == "":
		return Port{}, fmt.Errorf("the Service has %d ports, and none of them is named http or is its primary-port-name", len(s.Ports))
	case at < 0:
		return Port{}, fmt.Errorf("the Service has no port %s", want)
	case s.Ports[at].Target == 0:
		return Port{}, fmt.Errorf("port %s of the Service is not the same number in all instances", cmp.Or(want, s.Ports[at].Name))
	}
	return Port{Number: s.Ports[at].Target, Secured: s.Ports[at].Secured}, nil
}

// Find returns which of a Service's ports PortOf takes; below zero for none.
func Find(ports []registry.ServicePort, want string, secured bool) int {
	number, _ := strconv.ParseUint(want, 10, 16)
	switch {
	case want == "":
		return preferred(ports, secured)
	case number > 0:
		return slices.IndexFunc(ports, func(p registry.ServicePort) bool { return uint64(p.Port) == number })
	default:
		return named(ports, want)
	}
}

func preferred(ports []registry.ServicePort, secured bool) int {
	if len(ports) == 1 {
		return 0
	}
	if at := slices.IndexFunc(ports, func(p registry.ServicePort) bool { return p.Primary }); at >= 0 {
		return at
	}
	first, second := "http", "https"
	if secured {
		first, second = second, first
	}
	if at := named(ports, first); at >= 0 {
		return at
	}
	return named(ports, second)
}

func named(ports []registry.ServicePort, name string) int {
	return slices.IndexFunc(ports, func(p registry.ServicePort) bool { return p.Name == name })
}
