package gateway

import (
	"context"
	"fmt"
	"time"
)

// Change is who changes something, and why. Both are required.
type Change struct {
	Actor  string
	Reason string
}

// Write is one route to be put or deleted.
type Write struct {
	Route  Route // for a deletion its key counts alone
	Delete bool
	// Expect is the revision of the route that the writer has seen: 0 for a
	// route that must not exist, AnyRevision to write whatever is there.
	Expect Revision
}

// MaxHistory is how many versions History returns at most.
const MaxHistory = 1000

// AnyRevision as the expected revision writes whatever is there.
const AnyRevision Revision = -1

// NoVersion returns the NotFound of a version that a route does not have.
func NoVersion(key Key, rev Revision) error {
	return &Error{
		Code: NotFound, Message: fmt.Sprintf("route %s has no version at revision %d", key, rev),
		Fix: "its history tells which it has",
	}
}

// Store keeps routes, all their versions, and what each gateway serves.
// Implementations are safe for concurrent use.
type Store interface {
	Source

	// Apply writes all of the valid routes or none, under one new revision. A
	// write that changes nothing is left out; when none is left, the present
	// revision is returned and nothing is written. Errors: Invalid, Conflict
	// (whose message names the route and the revision that is there), NotFound
	// for the deletion of a route that is not there, Unavailable.
	Apply(ctx context.Context, writes []Write, c Change) (Revision, error)

	// Get returns the newest version. Errors: NotFound also for a deleted one.
	Get(ctx context.Context, key Key) (Version, error)

	// List returns the routes of a namespace, or of all when it is empty, sorted
	// by key, and the revision of the whole table.
	List(ctx context.Context, namespace string) ([]Version, Revision, error)

	// History returns the versions of one route, tombstones included, the newest
	// first; limit is 1 to MaxHistory, 0 for 100. A route that never was has none.
	History(ctx context.Context, key Key, limit int) ([]Version, error)

	// Version returns the version of a route that a revision wrote, a tombstone too.
	// Errors: NotFound where it wrote none.
	Version(ctx context.Context, key Key, rev Revision) (Version, error)

	// Nodes returns what the gateways said that they serve, sorted by name; those
	// not heard of for NodeGone are left out.
	Nodes(ctx context.Context) ([]Node, error)

	// WaitApplied returns the nodes once all that live serve at least rev, or
	// what they serve when ctx ends; that is no error.
	WaitApplied(ctx context.Context, rev Revision) ([]Node, error)
}

// Source is the part of a store that a gateway reads from, and says what it
// serves.
type Source interface {
	// Since returns what changed after rev, tombstones included, and the revision
	// up to which it is whole. Full says that the delta is instead everything that
	// lives: so it is for rev 0, for one that lies ahead of the store (another
	// database, or an older backup), and for one too far behind. A reader whose
	// checksum then differs from the delta's reads Since(ctx, 0) once.
	Since(ctx context.Context, rev Revision) (Delta, error)

	// Watch calls changed, from one goroutine, whenever the revision may have
	// moved, at least once, and every few seconds whatever happens, so that a
	// reader may leave what failed to the next call. It returns when ctx ends, with
	// its cause.
	Watch(ctx context.Context, changed func()) error

	// SetNode records what a gateway serves, and that it was heard of now.
	SetNode(ctx context.Context, n Node) error
}

// Delta is what changed between two revisions.
type Delta struct {
	Full     bool      `json:"full"`
	Revision Revision  `json:"revision"`
	Routes   []Version `json:"routes"` // in no order; each key once
	// Checksum is Checksum(all routes that live at Revision), for a reader to
	// hold against what it has.
	Checksum string `json:"checksum"`
}

// NodeGone is how long after its last word a gateway no longer counts.
const NodeGone = 30 * time.Second

// Node is one gateway's word of what it serves.
type Node struct {
	Name     string    `json:"name"`
	Revision Revision  `json:"revision"`
	Checksum string    `json:"checksum"`
	Seen     time.Time `json:"seen"`
	Version  string    `json:"version,omitempty"` // of weir
	// Quarantined are routes it cannot serve as written, with the reason; the
	// last good form of each is served where there is one.
	Quarantined []Quarantine `json:"quarantined,omitempty"`
}

// Quarantine says why a route is not served as written.
type Quarantine struct {
	Key      Key      `json:"route"`
	Revision Revision `json:"revision"`
	Serving  Revision `json:"serving,omitempty"` // the last good one; zero for none
	Reason   string   `json:"reason"`
}
