package registry

import (
	"context"
	"net/netip"
)

// Locator tells whose an address is. Implementations are safe for concurrent use.
type Locator interface {
	// PodAt returns the pod that has an address of its own, in a namespace or, when
	// that is empty, in any that the registry covers. Errors: NotFound, also where
	// several share the address; Invalid, of a namespace that there cannot be;
	// Forbidden, Unavailable.
	PodAt(ctx context.Context, namespace string, address netip.Addr) (PodName, error)
}

// PodName names a pod.
type PodName struct {
	Namespace, Name string
	// ID is its UID, the ID of its instance.
	ID string
}
