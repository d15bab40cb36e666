// Package registry holds the words of service discovery: what an application,
// an instance and a snapshot are, and the small interfaces through which
// adapters serve them. It imports the standard library only and does no work
// of its own; registry/kube, registry/memory and registry/dubbo do.
//
// Two rules run through every word here. Truth travels as whole snapshots, never
// as deltas: a receiver that missed ten changes needs only the last. And unknown
// is not empty: a discoverer that has not yet heard about an application, or has
// lost touch, never reports that the application has no instances.
package registry

import (
	"context"
)

// Discoverer serves the present state of applications. Implementations are safe
// for concurrent use.
type Discoverer interface {
	// Snapshot returns the newest snapshot of an application, waiting until one
	// is known or ctx ends. An application that provably does not exist has a
	// known snapshot without instances; it is not an error. Errors: Unavailable
	// when nothing became known before ctx ended, Forbidden when the registry
	// refuses to be read, Invalid for an incomplete App.
	Snapshot(ctx context.Context, app App) (Snapshot, error)

	// Subscribe calls notify with the newest snapshot once it is known, and then
	// whenever it changes. Calls for one subscription never overlap, the latest
	// snapshot wins over those that waited while notify ran, and a change that
	// alters nothing a receiver can see is not sent. notify may block (it delays
	// only its own subscription). After stop has returned, notify is not called
	// again; stop may be called more than once, but not from inside notify.
	// Not being able to know the application yet (no link, no rights) is not an
	// error here: notify comes when that is mended, and Snapshot says what is
	// wrong meanwhile. Errors: Invalid; Unavailable once closed.
	Subscribe(app App, notify func(Snapshot)) (stop func(), err error)

	// Apps lists the applications known in a namespace (all namespaces that the
	// discoverer covers when it is empty), sorted. Errors as for Snapshot.
	Apps(ctx context.Context, namespace string) ([]App, error)
}

// Registrar publishes this process's own instance. Implementations are safe for
// concurrent use.
type Registrar interface {
	// Register publishes or replaces the registration of this process under
	// r.App. It is idempotent, returns once the registry holds it, and keeps it
	// asserted: a registration seen lost is written again until Unregister.
	// Errors: Forbidden when the process may not write it, NotFound when the
	// instance or its application is not known to the registry (a pod outside
	// any Service), Invalid, Unavailable.
	Register(ctx context.Context, r Registration) error

	// Unregister withdraws what Register published for app. Withdrawing what is
	// not there is no error.
	Unregister(ctx context.Context, app App) error
}

// Mapping knows which applications provide an interface. Readers see what was
// recorded in the namespaces their implementation covers; a record lives in the
// namespace of its application. Name, group and version together are one key;
// Dubbo's own mapping records and asks by the name alone. Implementations are
// safe for concurrent use.
type Mapping interface {
	// MapInterface records that app provides the interface. It is idempotent,
	// and concurrent calls for different applications do not undo one another.
	// Where a record can get lost it is written again while this process is
	// registered as app.
	// Errors: Forbidden, Invalid, Unavailable.
	MapInterface(ctx context.Context, iface Interface, app App) error

	// UnmapInterface withdraws what MapInterface recorded for app.
	UnmapInterface(ctx context.Context, iface Interface, app App) error

	// InterfaceApps returns the names of the applications that provide the
	// interface, sorted; none is not an error. Errors as for Snapshot.
	InterfaceApps(ctx context.Context, iface Interface) ([]App, error)

	// SubscribeInterface calls notify with the full list of providing
	// applications once it is known, and whenever it changes; the rules of
	// Discoverer.Subscribe hold.
	SubscribeInterface(iface Interface, notify func([]App)) (stop func(), err error)
}

// MetadataStore keeps what an application's revision offers: a document too
// large for an instance's own metadata, shared by all instances of a revision.
type MetadataStore interface {
	// PutMetadata stores the document of a revision. Storing the same bytes
	// again writes nothing.
	PutMetadata(ctx context.Context, app App, revision string, document []byte) error

	// Metadata returns the document of a revision. The error's code is NotFound
	// when there is none. The caller owns the returned bytes.
	Metadata(ctx context.Context, app App, revision string) ([]byte, error)

	// Revisions lists the stored revisions of an application, sorted by revision.
	Revisions(ctx context.Context, app App) ([]Revision, error)

	// DeleteMetadata removes the document of a revision; one that is not there
	// is no error.
	DeleteMetadata(ctx context.Context, app App, revision string) error
}
