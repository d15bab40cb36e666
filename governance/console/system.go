// Package console is what the console of Weir is served: views that join what
// several domains know, over small interfaces of its own.
package console

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/registry"
)

// SystemSchema is what one role's part of the database tells.
type SystemSchema interface {
	Nodes(ctx context.Context) ([]node.Node, error)
	Queues(ctx context.Context) ([]node.Queue, error)
	Partitions(ctx context.Context) ([]node.Partition, error)
}

// SystemFleet tells which SDKs run.
type SystemFleet interface {
	SDKs(ctx context.Context) ([]node.SDK, error)
}

// SystemGateways tells what gateways serve, and what they should.
type SystemGateways interface {
	Nodes(ctx context.Context) ([]gateway.Node, error)
	Revision(ctx context.Context) (gateway.Revision, error)
}

// SystemRegistry tells of the cluster's applications.
type SystemRegistry interface {
	Apps(ctx context.Context, namespace string) ([]registry.App, error)
	Snapshot(ctx context.Context, app registry.App) (registry.Snapshot, error)
}

// SystemDeps is what the system view is made of.
type SystemDeps struct {
	// Self is what this control plane says of itself, which is known whatever is
	// away.
	Self func() node.Node
	// Database tells how the database is; its errors are shown.
	Database func(ctx context.Context) (node.Database, error)
	// Heard is when the database last answered anything; it may be nil.
	Heard func() time.Time
	// Governance and Tracing are the parts of the database of control planes and
	// collectors.
	Governance, Tracing SystemSchema
	Gateways            SystemGateways
	Fleet               SystemFleet
	// Registry is nil where there is no cluster.
	Registry SystemRegistry

	// Log takes what clients are not told.
	Log *slog.Logger
	// Patience bounds each question, 2 s when zero.
	Patience time.Duration
	// Fresh is how long an answer serves all who ask, 1 s when zero.
	Fresh time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// System is how this installation of Weir is.
type System struct {
	Version  string         `json:"version" doc:"Of the control plane that answers."`
	Time     time.Time      `json:"time" doc:"When this was found out."`
	Started  time.Time      `json:"started" doc:"When the control plane that answers started."`
	Nodes    []SystemNode   `json:"nodes" nullable:"false" doc:"The processes that were heard of in the last 30 seconds, by role and name."`
	Database SystemDatabase `json:"database"`
	// Partitions, Queues and the other nodes are as they were last known where the
	// database is away.
	Partitions []SystemPartition `json:"partitions" nullable:"false" doc:"Tables of governance and tracing, and the parts of those that have any, with what each takes."`
	Queues     []SystemQueue     `json:"queues" nullable:"false" doc:"What waits, and what is held open."`
	Registry   SystemRegistryNow `json:"registry"`
	SDK        []SystemSDK       `json:"sdk" nullable:"false" doc:"Live instances by the version of their SDK, those with most first; of the namespaces that the caller may see."`
	// Unknown is what could not be found out though the database answers.
	Unknown []SystemUnknown `json:"unknown,omitempty" nullable:"false" doc:"What could not be found out, and why; it is told as it was last known, or left out."`
}

// SystemNode is one process of Weir.
type SystemNode struct {
	Role     string           `json:"role" enum:"control,gateway,tracing"`
	Name     string           `json:"name"`
	Version  string           `json:"version"`
	Seen     time.Time        `json:"seen" doc:"When it was heard of last."`
	Started  time.Time        `json:"started,omitzero"`
	Revision gateway.Revision `json:"revision,omitempty" doc:"Of a gateway: the revision of the routes that it serves."`
	Current  *bool            `json:"current,omitempty" doc:"Of a gateway: whether that is the newest."`
	Notes    []string         `json:"notes,omitempty" nullable:"false" doc:"What an operator should know of it."`
}

// SystemDatabase is how the database is.
type SystemDatabase struct {
	OK             bool      `json:"ok"`
	Error          string    `json:"error,omitempty" doc:"Why it does not answer, and what to do."`
	Since          time.Time `json:"since,omitzero" doc:"Where it does not answer: when it last answered anything that this control plane asked. Missing where it never did."`
	AsOf           time.Time `json:"asOf,omitzero" doc:"Where it does not answer: when it was last heard, as of when everything is that comes from it. Missing where it was not heard since this control plane started."`
	Version        string    `json:"version,omitempty" doc:"Of PostgreSQL."`
	Bytes          int64     `json:"bytes,omitempty"`
	Connections    int       `json:"connections,omitempty" doc:"To this database, of all who use it."`
	MaxConnections int       `json:"maxConnections,omitempty" doc:"That the server allows, over all its databases."`
}

// SystemPartition is a table, or a part of one.
type SystemPartition struct {
	Schema string    `json:"schema" enum:"governance,tracing"`
	Table  string    `json:"table"`
	Name   string    `json:"name" doc:"Of the part; the table's own where it has no parts."`
	From   time.Time `json:"from,omitzero" doc:"Missing for a table without parts, and for the part that takes what no other does."`
	To     time.Time `json:"to,omitzero"`
	Bytes  int64     `json:"bytes" doc:"With indexes."`
	Rows   int64     `json:"rows" doc:"As PostgreSQL estimates."`
}

// SystemQueue is something that waits, or is held open.
type SystemQueue struct {
	Name   string    `json:"name" doc:"Such as streams, reports, staged reports, span spool, traces to link."`
	Role   string    `json:"role" enum:"control,gateway,tracing" doc:"Whose it is."`
	Node   string    `json:"node,omitempty" doc:"The process that holds it; missing where it is in the database."`
	Depth  int64     `json:"depth"`
	Limit  int64     `json:"limit,omitempty" doc:"Missing where nothing bounds it."`
	Unit   string    `json:"unit" doc:"What depth and limit count."`
	Oldest time.Time `json:"oldest,omitzero" doc:"When what waits longest came, where that is known."`
	Detail string    `json:"detail,omitempty"`
}

// SystemRegistryNow is how the registry is.
type SystemRegistryNow struct {
	Open    bool      `json:"open" doc:"Whether the applications are known."`
	Apps    int       `json:"apps" doc:"How many there are, in the namespaces that the caller may see; 0 while it is not open."`
	Stale   time.Time `json:"stale,omitzero" doc:"Since when it has been out of touch; the last state known stands."`
	Unknown string    `json:"unknown,omitempty" doc:"Why it is not open."`
}

// SystemSDK is how many instances run one version of the SDK.
type SystemSDK struct {
	Version   string `json:"version" doc:"Empty where instances do not say."`
	Instances int    `json:"instances"`
}

// SystemUnknown is one thing that could not be found out.
type SystemUnknown struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

type systemOut struct{ Body System }

func newSystem(d SystemDeps) *system {
	d.Patience, d.Fresh = cmp.Or(d.Patience, 2*time.Second), cmp.Or(d.Fresh, time.Second)
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &system{deps: d, known: newShared[found](d.Fresh, d.Now)}
}

func (s *system) register(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: huma.Operation{
			OperationID: "get-system", Method: http.MethodGet, Path: "/api/v1/system", Tags: []string{"system"},
			Summary:     "Read how this installation of Weir is",
			Description: "The processes of Weir with their versions, the database and what its tables take, what waits in queues, the registry, and the SDKs of running services. It answers when the database is away, too: then database.ok is false with the reason, and the rest is as it was last known.",
		},
		Role: access.Viewer, Scoped: true,
	}, func(ctx context.Context, _ *struct{}) (*systemOut, error) {
		found, err := s.read(ctx)
		if err != nil {
			return nil, err
		}
		return &systemOut{Body: found.tell(ctx)}, nil
	})
}

// tell writes what was found for the one who asks, in the order in which it is
// looked at.
func (f *found) tell(ctx context.Context) System {
	out := System{
		Version: f.self.Version, Time: f.time, Started: f.self.Started, Database: f.database,
		Nodes: []SystemNode{}, Partitions: []SystemPartition{}, Queues: []SystemQueue{}, SDK: []SystemSDK{}, Unknown: slices.Clone(f.unknown),
	}
	out.Database.Error = out.Database.errorFor(ctx)
	for _, n := range slices.Concat([]node.Node{f.self}, f.others(), f.collectors) {
		out.Nodes = append(out.Nodes, SystemNode{Role: n.Role, Name: n.Name, Version: n.Version, Seen: n.Seen, Started: n.Started, Notes: n.Facts.Notes})
		for _, q := range n.Facts.Queues {
			out.Queues = append(out.Queues, systemQueue(n.Role, n.Name, q))
		}
	}
	for _, g := range f.gateways {
		out.Nodes = append(out.Nodes, gatewayNode(ctx, g, f.revision))
	}
	slices.SortStableFunc(out.Nodes, func(a, b SystemNode) int {
		return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Name, b.Name))
	})
	for _, q := range f.staged {
		out.Queues = append(out.Queues, systemQueue(roleControl, "", q))
	}
	for _, q := range f.unlinked {
		out.Queues = append(out.Queues, systemQueue(roleTracing, "", q))
	}
	slices.SortStableFunc(out.Queues, func(a, b SystemQueue) int {
		return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Name, b.Name), strings.Compare(a.Node, b.Node))
	})
	for _, p := range slices.Concat(f.governance, f.tracing) {
		out.Partitions = append(out.Partitions, SystemPartition(p))
	}
	out.Registry = SystemRegistryNow{Open: f.registry.unknown == "", Stale: f.registry.stale, Unknown: f.registry.unknown}
	for _, app := range f.registry.apps {
		if httpapi.Sees(ctx, app.Namespace) {
			out.Registry.Apps++
		}
	}
	versions := map[string]int{}
	for _, k := range f.sdks {
		if httpapi.Sees(ctx, k.Namespace) {
			versions[k.Version] += k.Instances
		}
	}
	for version, n := range versions {
		out.SDK = append(out.SDK, SystemSDK{version, n})
	}
	slices.SortFunc(out.SDK, func(a, b SystemSDK) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), strings.Compare(b.Version, a.Version))
	})
	return out
}

// errorFor is what the one who asks is told of a database that is away: where it is,
// and how it is spoken to, is nothing for those who are bound to namespaces.
func (d *SystemDatabase) errorFor(ctx context.Context) string {
	if d.Error != "" && access.Require(ctx, access.Viewer, "") != nil {
		return "it is out of reach; who may see all namespaces is told more"
	}
	return d.Error
}

// Roles of nodes.
const (
	roleControl = "control"
	roleGateway = "gateway"
	roleTracing = "tracing"
)

// others are the control planes but this one.
func (f *found) others() []node.Node {
	return slices.DeleteFunc(slices.Clone(f.controls), func(n node.Node) bool { return n.Name == f.self.Name })
}

func systemQueue(role, name string, q node.Queue) SystemQueue {
	return SystemQueue{Name: q.Name, Role: role, Node: name, Depth: q.Depth, Limit: q.Limit, Unit: q.Unit, Oldest: q.Oldest, Detail: q.Detail}
}

func gatewayNode(ctx context.Context, g gateway.Node, newest gateway.Revision) SystemNode {
	current := g.Revision >= newest
	n := SystemNode{Role: roleGateway, Name: g.Name, Version: g.Version, Seen: g.Seen, Revision: g.Revision, Current: &current}
	if !current {
		n.Notes = append(n.Notes, fmt.Sprintf("serves revision %d of the routes, and the newest is %d", g.Revision, newest))
	}
	quarantined := 0
	for _, q := range g.Quarantined {
		if httpapi.Sees(ctx, q.Key.Namespace) {
			quarantined++
		}
	}
	switch quarantined {
	case 0:
	case 1:
		n.Notes = append(n.Notes, "cannot serve 1 route as written")
	default:
		n.Notes = append(n.Notes, fmt.Sprintf("cannot serve %d routes as written", quarantined))
	}
	return n
}
