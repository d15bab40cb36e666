package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
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

// clusters tells of each cluster whether it is in touch, and why the applications of
// one are not known, or of the one that is named; empty where they are. No application
// is named for it: what is asked of one would have a cluster look into its namespace
// from then on.
func (s *server) clusters(ctx context.Context, only string) (all []Cluster, unknown string) {
	c, ok := s.deps.Registry.(registry.Clustered)
	if !ok {
		return nil, ""
	}
	// One that does not answer is told of, and not waited for.
	ctx, cancel := context.WithTimeout(ctx, min(s.deps.Patience/4, time.Second))
	defer cancel()
	for _, state := range c.ClusterStates(ctx) {
		one := Cluster{Name: state.Cluster, Stale: state.Stale}
		if state.Err != nil {
			one.Unknown = registry.Text(state.Err)
			if only == "" || only == one.Name {
				unknown = cmp.Or(unknown, one.Unknown)
			}
		}
		all = append(all, one)
	}
	return all, unknown
}

// there reports whether the registry has an application. Where one of its clusters, or
// the one that is named, is not known, that it has none is not known either.
func (s *server) there(ctx context.Context, app registry.App, only string) (bool, error) {
	apps, err := s.apps(ctx)
	if err != nil {
		return false, err
	}
	if _, there := slices.BinarySearchFunc(apps, app, registry.App.Compare); there || len(s.clusterNames()) == 0 {
		return there, nil
	}
	if _, unknown := s.clusters(ctx, only); unknown != "" {
		return false, &registry.Error{Code: registry.Unavailable, Message: unknown}
	}
	// One of them may have answered just now.
	if apps, err = s.apps(ctx); err != nil {
		return false, err
	}
	_, there := slices.BinarySearchFunc(apps, app, registry.App.Compare)
	return there, nil
}
