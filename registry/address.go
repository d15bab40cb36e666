package registry

import (
	"fmt"
	"net/netip"
	"strings"
)

// addressProblem is what AddressProblem says.
const addressProblem = "its address %s is claimed by pod %s as well, which is taken for the one that has it"

// AddressProblem is the Problem of an instance whose address another has, by name.
func AddressProblem(host netip.Addr, other string) string {
	return fmt.Sprintf(addressProblem, host, other)
}

// Displaced reports whether another instance has the address: see AddressProblem.
func (i *Instance) Displaced() bool {
	begin, _, _ := strings.Cut(addressProblem, "%")
	return strings.HasPrefix(i.Problem, begin)
}
