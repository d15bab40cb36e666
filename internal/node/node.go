// Package node holds the words in which a process of Weir tells that it lives
// and how it does, and the part of a database that is its own: what the system
// view is made of. Each role's adapter keeps them in its own schema.
package node

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Node is one process's word of itself.
type Node struct {
	Role    string // that it runs as
	Name    string // among its like
	Version string // of weir
	Started time.Time
	// Seen is when it was last heard of, by the database's clock.
	Seen  time.Time
	Facts Facts
}

// Facts are what a process alone knows of itself.
type Facts struct {
	Queues []Queue `json:"queues,omitempty"`
	// Notes are what an operator should know of it, one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Queue is something that waits, or is held open, and how much of it there is.
type Queue struct {
	Name  string `json:"name"`
	Depth int64  `json:"depth"`
	// Limit is the most there can be; zero where nothing bounds it.
	Limit int64  `json:"limit,omitempty"`
	Unit  string `json:"unit"` // what Depth and Limit count
	// Oldest is when what waits longest came, where that is known.
	Oldest time.Time `json:"oldest,omitzero"`
	Detail string    `json:"detail,omitempty"`
}

// Partition is a table, or a part of one, with what it takes.
type Partition struct {
	Schema, Table string
	// Name is that of the part, the table's own where it has none.
	Name string
	// From and To are the times that it is for; zero for a table without parts, and
	// for the part that takes what no other does.
	From, To time.Time
	Bytes    int64 // with indexes
	Rows     int64 // as the database estimates
}

// SDK is how many instances of a namespace run one version of the SDK.
type SDK struct {
	Namespace, Version string
	Instances          int
}

// Database is what a database says of itself.
type Database struct {
	Version                     string
	Bytes                       int64
	Connections, MaxConnections int
}

// How long a node's word holds.
const (
	// Every is about how often a node says that it lives.
	Every = 5 * time.Second
	// Gone is how long after its last word a node no longer counts, and Forgotten
	// after how long nothing is kept of it.
	Gone      = 30 * time.Second
	Forgotten = 24 * time.Hour
)

// Store keeps the word of the nodes of one role.
type Store interface {
	// SetNode records a node's word, by its name, and that it was heard of now. What
	// is forgotten goes in the same step.
	SetNode(ctx context.Context, n Node) error
	// EndNode takes the word of a node back, unless another process of its name has
	// given its own since.
	EndNode(ctx context.Context, n Node) error
}

// patience bounds one word, and the taking back of it.
const (
	patience    = 3 * time.Second
	endPatience = time.Second
)

// Keep says that a node lives, and what self says of it, until ctx ends; then it
// takes that back. A store that is away is tried again.
func Keep(ctx context.Context, s Store, self func() Node, log *slog.Logger) error {
	failed := false
	for ctx.Err() == nil {
		err := within(ctx, patience, func(ctx context.Context) error { return s.SetNode(ctx, self()) })
		if err != nil && !failed && ctx.Err() == nil {
			log.WarnContext(ctx, "cannot say that this node lives, and will try again", "error", err)
		}
		failed = err != nil
		timer := time.NewTimer(Every - Every/10 + rand.N(Every/5)) // not all at once
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	// Without it the node is taken for gone a little later.
	_ = within(context.WithoutCancel(ctx), endPatience, func(ctx context.Context) error { return s.EndNode(ctx, self()) })
	return nil
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
