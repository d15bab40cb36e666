package console

import (
	"cmp"
	"context"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/routetable"
)

// Governance tells of running services and of what is asked of them.
type Governance interface {
	Instances(ctx context.Context, app governance.App) ([]governance.Instance, error)
	List(ctx context.Context, q governance.PolicyQuery) ([]governance.Version, int64, error)
	Recent(ctx context.Context, limit int) ([]governance.Version, error)
	Totals(ctx context.Context, q governance.TotalsQuery) (governance.Totals, error)
	Circuits(ctx context.Context, app governance.App) (circuits []governance.Circuit, cut bool, err error)
}

// Routes tells of routes and of the gateways that serve them.
type Routes interface {
	routetable.Source
	Nodes(ctx context.Context) ([]gateway.Node, error)
	Recent(ctx context.Context, limit int) ([]gateway.Version, error)
}

// Deps is what the views are made of.
type Deps struct {
	System     SystemDeps
	Governance Governance
	Routes     Routes
	// Gateway is the application as which gateways report.
	Gateway governance.App
	// Behind returns those of the instances that do not enforce what they should,
	// and whether that is known.
	Behind func(all []governance.Instance) (behind []governance.Instance, known bool)

	// Patience bounds what each source is asked for one answer, 2 s when zero.
	Patience time.Duration
	// Fresh is how long an answer serves all who ask, 2 s when zero.
	Fresh time.Duration
	// Now tells the time. Default time.Now.
	Now func() time.Time
}

// Register adds the views to an API.
func Register(a *httpapi.API, d Deps) {
	d.Patience, d.Fresh = cmp.Or(d.Patience, 2*time.Second), cmp.Or(d.Fresh, 2*time.Second)
	if d.Now == nil {
		d.Now = time.Now
	}
	system := newSystem(d.System)
	system.register(a)
	o := newObserver(d, system)
	o.registerOverview(a)
	o.registerRouteStatus(a)
}
