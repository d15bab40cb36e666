// Package api shows the registry over HTTP: which applications there are, which
// of their instances are called and why the others are not, and what they offer.
// It only reads, through the words' interfaces, and says that it does not know
// rather than that there is nothing.
package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
)

// Registry is what the API asks.
type Registry interface {
	registry.Discoverer
	registry.MetadataStore
}

// Deps is what the API works with.
type Deps struct {
	// Registry knows the applications; nil where there is no cluster.
	Registry Registry
	// Patience bounds how long a request waits for a registry that does not know
	// yet; 2 s when zero.
	Patience time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// noCluster is why nothing is known where there is no cluster.
const noCluster = "this control plane looks after no cluster: start it in one, or name yours with --kubeconfig"

// List is all applications that the caller may see.
type List struct {
	Items []App `json:"items" nullable:"false" doc:"Sorted by namespace and name."`
	// Stale is since when the registry is out of touch.
	Stale time.Time `json:"stale,omitzero" doc:"Since when the registry has been out of touch; what is told is the last state known."`
	// Clusters are those that the control plane looks at, where there are several.
	Clusters []Cluster `json:"clusters,omitempty" nullable:"false" doc:"The clusters that the control plane looks at, its own first; missing where there is one alone."`
	// Unknown is why the list is not whole.
	Unknown string `json:"unknown,omitempty" doc:"Why the list is not whole, or empty: then it says nothing of whether there are applications."`
}

// Cluster is one of several that are looked at.
type Cluster struct {
	Name    string    `json:"name"`
	Stale   time.Time `json:"stale,omitzero" doc:"Since when the cluster has not answered; what is told of it is the last state known."`
	Unknown string    `json:"unknown,omitempty" doc:"Why nothing is known of the cluster, or empty: its applications are not told then."`
}

// App is one application in a list.
type App struct {
	App      registry.App  `json:"app"`
	Mode     registry.Mode `json:"mode" enum:"pod,service" doc:"How it asks to be called: its instances, or its Service."`
	ModeFrom string        `json:"modeFrom,omitempty" doc:"What asks for the mode; missing where nothing does."`
	// Choice and ChoiceFrom are for consumers that use ZooKeeper, too.
	Choice     registry.Choice `json:"choice,omitempty" enum:"kubernetes,zookeeper,both" doc:"By which registry consumers that use ZooKeeper, too, are to call it; missing where nothing says."`
	ChoiceFrom string          `json:"choiceFrom,omitempty" doc:"What says so; missing where nothing does."`
	Counts
	Interfaces *int   `json:"interfaces,omitempty" doc:"How many Dubbo interfaces it offers; missing while that is not known."`
	Host       string `json:"host,omitempty" doc:"Address of its Service; missing where it has none."`
	Headless   bool   `json:"headless,omitempty" doc:"Its Service has no address of its own."`
}

// Counts are how an application's instances are.
type Counts struct {
	Instances int                     `json:"instances"`
	Callable  int                     `json:"callable" doc:"Those that get new calls."`
	Kept      int                     `json:"kept" doc:"Those of them that are not ready: so many were lost at once that their loss is doubted."`
	Held      int                     `json:"held" doc:"Those that do not, for another reason than that nearer ones do."`
	Standby   int                     `json:"standby" doc:"Those that would get them, were there not nearer ones: in another zone or cluster."`
	Clusters  []registry.ClusterCount `json:"clusters,omitempty" nullable:"false" doc:"How many are in each cluster; missing where there is one alone."`
	HeldBack  []registry.Held         `json:"heldBack" nullable:"false" doc:"Why not, the reasons of most instances first, five at most."`
	Protocols []string                `json:"protocols" nullable:"false" doc:"What they say they speak, sorted."`
	Warnings  int                     `json:"warnings" doc:"Those with something wrong that does not keep calls away."`
}

// mostReasons bounds Counts.HeldBack: each pod may have one of its own.
const mostReasons = 5

func counts(sum *registry.Summary) Counts {
	c := Counts{
		Instances: sum.Instances, Callable: sum.Callable, Kept: sum.Kept, Held: sum.Instances - sum.Callable - sum.Standby, Standby: sum.Standby, Clusters: sum.Clusters, Warnings: sum.Warnings,
		HeldBack: sum.Held, Protocols: sum.Protocols(),
	}
	slices.SortStableFunc(c.HeldBack, func(a, b registry.Held) int { return cmp.Compare(b.Instances, a.Instances) })
	c.HeldBack = c.HeldBack[:min(len(c.HeldBack), mostReasons)]
	if c.HeldBack == nil {
		c.HeldBack = []registry.Held{}
	}
	return c
}

type listIn struct {
	Namespace string `query:"namespace" doc:"Only this namespace." example:"shop"`
	Cluster   string `query:"cluster" doc:"Only what is in this cluster, as it knows it by itself."`
}

type listOut struct{ Body List }

type server struct {
	deps   Deps
	offers *offers
}

// Register adds the operations to an API.
func Register(h *httpapi.API, d Deps) {
	d.Patience = cmp.Or(d.Patience, 2*time.Second)
	if d.Now == nil {
		d.Now = time.Now
	}
	s := &server{deps: d, offers: newOffers(d)}
	tags := []string{"registry"}
	httpapi.Register(h, httpapi.Op[listIn]{
		Operation: huma.Operation{
			OperationID: "list-registry", Method: http.MethodGet, Path: "/api/v1/registry", Tags: tags,
			Summary:     "List the applications of the registry",
			Description: "Every application that the control plane sees in its cluster and the caller may see, with how many of its instances are called and why the others are not. A registry that does not know yet, or may not look, is told by unknown and is no error.",
		},
		Role: access.Viewer, Scoped: true,
	}, s.list)
	httpapi.Register(h, httpapi.Op[getIn]{
		Operation: huma.Operation{
			OperationID: "get-registry-app", Method: http.MethodGet, Path: "/api/v1/registry/{namespace}/{name}", Tags: tags,
			Summary:     "Read an application of the registry",
			Description: "Its Service, its instances with what each registered and, check by check, why it is in or out of its consumers' lists, and the Dubbo interfaces that they offer. 404 says that it is known not to exist; while that is not known, the answer is 503 with the reason.",
		},
		Role: access.Viewer, Namespace: func(in *getIn) string { return in.Namespace },
	}, s.get)
}

// apps lists those there are. It asks for all namespaces that the registry
// covers, as asking for another would make it watch that one from then on.
func (s *server) apps(ctx context.Context) ([]registry.App, error) {
	if s.deps.Registry == nil {
		return nil, &registry.Error{Code: registry.Unavailable, Message: noCluster}
	}
	return s.deps.Registry.Apps(ctx, "")
}

func (s *server) list(ctx context.Context, in *listIn) (*listOut, error) {
	if in.Namespace != "" {
		if err := access.Require(ctx, access.Viewer, in.Namespace); err != nil {
			return nil, err
		}
	}
	if err := s.checkCluster(in.Cluster); err != nil {
		return nil, err
	}
	out := &listOut{Body: List{Items: []App{}}}
	first, cancel := context.WithTimeout(ctx, s.deps.Patience)
	defer cancel()
	// How the clusters are is asked first: the list has all of those that were known then.
	out.Body.Clusters, out.Body.Unknown = s.clusters(first, in.Cluster)
	apps, err := s.apps(first)
	if err != nil {
		out.Body.Unknown = registry.Text(err)
		return out, nil
	}
	sums := make([]registry.Summary, 0, len(apps))
	for _, app := range apps {
		if in.Namespace != "" && app.Namespace != in.Namespace || !httpapi.Sees(ctx, app.Namespace) {
			continue
		}
		app.Cluster = in.Cluster
		snapshot, err := s.deps.Registry.Snapshot(first, app)
		if err != nil {
			out.Body.Unknown = cmp.Or(out.Body.Unknown, registry.Text(err))
			continue // of another, all may be known
		}
		if in.Cluster != "" && !snapshot.Known() {
			continue
		}
		if since := snapshot.StaleSince; !since.IsZero() && (out.Body.Stale.IsZero() || since.Before(out.Body.Stale)) {
			out.Body.Stale = since
		}
		sum := registry.Summarize(snapshot)
		sums = append(sums, sum)
		out.Body.Items = append(out.Body.Items, App{
			App: app, Mode: snapshot.Mode, ModeFrom: snapshot.ModeFrom, Choice: snapshot.Choice, ChoiceFrom: snapshot.ChoiceFrom, Counts: counts(&sum),
			Host: snapshot.Service.Host, Headless: snapshot.Service.Headless,
		})
	}
	s.offers.readSome(ctx, sums)
	for i := range sums {
		out.Body.Items[i].Interfaces = s.offers.count(&sums[i])
	}
	return out, nil
}

// byName orders instances as people look for them, those that are not called
// first.
func byName(a, b *registry.Instance) int {
	if x, y := a.Callable(), b.Callable(); x != y {
		if x {
			return 1
		}
		return -1
	}
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
}
