package registry

import (
	"context"
	"time"
)

// Clustered is a Discoverer that may be of several clusters. An App without a Cluster
// is then the application of all of them, and one with a Cluster what that cluster
// alone knows of it.
type Clustered interface {
	// Clusters returns the names of the clusters, that of the process's own first; none
	// where there is a single one, which needs no name.
	Clusters() []string
	// ClusterStates returns how each of the Clusters is, in their order. It waits for
	// those that have not answered yet until ctx ends.
	ClusterStates(ctx context.Context) []ClusterState
}

// ClusterState is whether a cluster can be heard.
type ClusterState struct {
	Cluster string
	// Stale is since when it has been out of touch; zero while it is not. What is known
	// of it is the last state then.
	Stale time.Time
	// Err is why nothing is known of it: then no list has its applications. Else nil.
	Err error
}

// Linked is a Discoverer that says how its link is without being asked for an
// application, which would have it look into that one's namespace.
type Linked interface {
	// StaleSince returns since when the registry has been out of touch, zero while it
	// is not. It waits until the registry has been heard once, and fails as Apps does.
	StaleSince(ctx context.Context) (time.Time, error)
}

// ClusterCount is how many instances of an application a cluster has.
type ClusterCount struct {
	Cluster   string `json:"cluster"`
	Instances int    `json:"instances"`
	Callable  int    `json:"callable"`
	// Standby counts those that would be called, were there not better ones.
	Standby int `json:"standby,omitempty"`
}
