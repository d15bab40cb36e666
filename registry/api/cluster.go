package api

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

// clusterNames are those of the clusters that the registry is of; none where it is of
// one.
func (s *server) clusterNames() []string {
	if c, ok := s.deps.Registry.(registry.Clustered); ok {
		return c.Clusters()
	}
	return nil
}

// checkCluster refuses a cluster that is not looked at.
func (s *server) checkCluster(name string) error {
	names := s.clusterNames()
	switch {
	case name == "" || slices.Contains(names, name):
		return nil
	case len(names) == 0:
		return &registry.Error{Code: registry.Invalid, Message: "this control plane looks at a single cluster", Fix: "leave cluster out"}
	}
	return &registry.Error{Code: registry.Invalid, Message: "there is no cluster " + name, Fix: "name one of " + strings.Join(names, ", ")}
}

// clusters tells of each cluster whether it is in touch, by any of the applications,
// since all share its watches.
func (s *server) clusters(ctx context.Context, apps []registry.App) []Cluster {
	names := s.clusterNames()
	if len(names) == 0 {
		return nil
	}
	app := registry.App{Namespace: "default", Name: "kubernetes"}
	if len(apps) > 0 {
		app = apps[0]
	}
	// One that does not answer is told of, and not waited for.
	ctx, cancel := context.WithTimeout(ctx, min(s.deps.Patience/4, time.Second))
	defer cancel()
	out := make([]Cluster, len(names))
	var all sync.WaitGroup
	for n, name := range names {
		all.Go(func() {
			out[n].Name = name
			snapshot, err := s.deps.Registry.Snapshot(ctx, registry.App{Cluster: name, Namespace: app.Namespace, Name: app.Name})
			if err != nil {
				out[n].Unknown = registry.Text(err)
				return
			}
			out[n].Stale = snapshot.StaleSince
		})
	}
	all.Wait()
	return out
}
