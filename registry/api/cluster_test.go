package api_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/api"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/memory"
)

// asked notes of which namespaces a cluster is asked for an application.
type asked struct {
	*memory.Client
	mu         sync.Mutex
	namespaces map[string]int
}

func (a *asked) Snapshot(ctx context.Context, app registry.App) (registry.Snapshot, error) {
	a.mu.Lock()
	a.namespaces[app.Namespace]++
	a.mu.Unlock()
	return a.Client.Snapshot(ctx, app)
}

// pair is the registry of two clusters, of which west has not been heard yet.
func pair(t *testing.T, east, west *memory.Registry) (_ *clusters.Registry, home, away *asked) {
	t.Helper()
	home = &asked{Client: east.Join(memory.Config{}), namespaces: map[string]int{}}
	away = &asked{Client: west.Join(memory.Config{Offline: true}), namespaces: map[string]int{}}
	t.Cleanup(home.Close)
	t.Cleanup(away.Close)
	r, err := clusters.New(clusters.Config{ProbeEvery: -1, FirstWait: time.Millisecond, Members: []clusters.Member{
		{Name: "east", Discoverer: home, Metadata: home}, {Name: "west", Discoverer: away, Metadata: away, Priority: 1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, home, away
}

// What a cluster may have that has not been heard is not known, rather than not there.
func TestAnApplicationOfAClusterThatIsNotHeardIsNotKnown(t *testing.T) {
	t.Parallel()
	east, _ := shop(t)
	west := memory.New()
	west.PutService(registry.App{Namespace: "shop", Name: "only-in-west"}, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: 80}}})
	r, _, away := pair(t, east, west)
	get := control(t, api.Deps{Registry: r, Patience: 200 * time.Millisecond})
	const lost = "cluster west: the link is cut"
	for range 2 {
		var problem httpapi.Problem
		if status := get("all", "/api/v1/registry/shop/only-in-west", &problem); status != 503 || !strings.Contains(problem.Detail, lost) {
			t.Errorf("%d %+v", status, problem)
		}
		if status := get("all", "/api/v1/registry/shop/nowhere?cluster=east", &problem); status != 404 {
			t.Errorf("in east: %d %+v", status, problem)
		}
		var all api.List
		if status := get("all", "/api/v1/registry", &all); status != 200 || len(all.Items) != 1 || all.Items[0].App != inventory || !strings.Contains(all.Unknown, lost) || !strings.Contains(all.Clusters[1].Unknown, lost) {
			t.Errorf("%d %+v", status, all)
		}
		var mine api.List
		if get("all", "/api/v1/registry?cluster=east", &mine); len(mine.Items) != 2 || mine.Unknown != "" {
			t.Errorf("of east: %+v", mine)
		}
	}
	away.Restore()
	var d api.Detail
	if status := get("all", "/api/v1/registry/shop/only-in-west", &d); status != 200 {
		t.Errorf("with west heard: %d", status)
	}
	var problem httpapi.Problem
	if status := get("all", "/api/v1/registry/shop/nowhere", &problem); status != 404 {
		t.Errorf("with west heard: %d %+v", status, problem)
	}
	away.Cut()
	var all api.List
	if get("all", "/api/v1/registry", &all); len(all.Items) != 3 || all.Unknown != "" || all.Clusters[1].Stale.IsZero() || !all.Clusters[0].Stale.IsZero() {
		t.Errorf("with west lost again: %+v", all)
	}
}

// How the clusters are is not asked by way of an application: a namespace that nobody
// may look into would be looked into from then on.
func TestClustersAreToldOfWithoutAnApplication(t *testing.T) {
	t.Parallel()
	r, home, away := pair(t, memory.New(), memory.New())
	away.Restore()
	get := control(t, api.Deps{Registry: r})
	var all api.List
	if status := get("all", "/api/v1/registry", &all); status != 200 || len(all.Clusters) != 2 || all.Unknown != "" {
		t.Errorf("%d %+v", status, all)
	}
	for _, c := range []*asked{home, away} {
		if len(c.namespaces) != 0 {
			t.Errorf("asked of %v", c.namespaces)
		}
	}
}
