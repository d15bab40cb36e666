package role

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/routecheck"
	gatewayapi "github.com/weirmesh/weir/gateway/api"
	"github.com/weirmesh/weir/gateway/dubbo"
	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/gateway/proxy"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/governance/agentless"
	governanceapi "github.com/weirmesh/weir/governance/api"
	"github.com/weirmesh/weir/governance/console"
	"github.com/weirmesh/weir/governance/dubboconfig"
	governancepg "github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/internal/node"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/registry"
	registryapi "github.com/weirmesh/weir/registry/api"
	tracingpg "github.com/weirmesh/weir/tracing/postgres"
	"github.com/weirmesh/weir/tracing/query"
)

// knowPatience bounds the question whether an application exists, which a write
// waits for.
const knowPatience = 2 * time.Second

// serveRoutes adds the API of routes. Explanations come from the table that
// gateways serve by.
func (c *Control) serveRoutes(h *httpapi.API) {
	c.routes = gatewaypg.New(c.pool, gatewaypg.Options{Log: c.deps.Log})
	roleMetrics(c.deps.Env, ControlName).MustRegister(c.routes.Listener())
	c.closes = append(c.closes, c.routes.Close)
	o := gatewayapi.Options{Explainer: proxy.NewExplainer(c.deps.Registry)}
	if known := c.deps.Registry; known != nil {
		o.Checker = routecheck.All{routecheck.Apps{Registry: known}, dubbo.Checker{Discoverer: known, Metadata: known}}
	}
	gatewayapi.Register(h, c.routes, o)
}

// serveGovernance adds policies, switches, history, and the instances' stream.
func (c *Control) serveGovernance(h *httpapi.API) {
	d := c.deps
	c.policies = governancepg.New(c.pool, governancepg.Options{Log: d.Log, Retention: d.History, Metrics: d.Metrics})
	cfg := governanceapi.Config{Store: c.policies, Log: d.Log, Metrics: d.Metrics, Version: d.Env.Version}
	cfg.Routes = func(ctx context.Context) (int64, error) {
		rev, err := c.routes.Revision(ctx)
		return int64(rev), err
	}
	if d.Registry != nil {
		cfg.Known = func(ctx context.Context, app governance.App) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, knowPatience)
			defer cancel()
			s, err := d.Registry.Snapshot(ctx, registry.App{Namespace: app.Namespace, Name: app.Name})
			return err == nil && s.Known(), err
		}
	}
	c.control = governanceapi.New(cfg)
	c.control.Register(h)
	c.ready = append(c.ready, c.control.Ready)
	c.works = append(c.works, c.policies.Run, c.control.Run)
	d.Health.Ask("policies", c.control.Ready)
	c.serveDubbo()
	if d.Registry == nil || d.AgentlessPods <= 0 {
		return
	}
	c.outside = agentless.New(agentless.Config{
		Registry: d.Home, Policies: c.control, Store: c.policies, MaxPods: d.AgentlessPods, Log: d.Log.With("part", "agentless"), Metrics: d.Metrics,
	})
	c.works = append(c.works, c.outside.Run)
}

// serveDubbo adds the configuration centre of Dubbo Java applications, which has a
// listener of its own.
func (c *Control) serveDubbo() {
	d := c.deps
	if d.DubboConfigClients <= 0 {
		return
	}
	cfg := dubboconfig.Config{Policies: c.control, Store: c.policies, MaxClients: d.DubboConfigClients, Log: d.Log.With("part", "dubboconfig"), Metrics: d.Metrics}
	if d.Registry != nil {
		cfg.Registry = d.Home
	}
	c.dubbo = dubboconfig.New(cfg)
	c.works = append(c.works, c.dubbo.Run)
}

// facts are what this control plane alone knows of itself.
func (c *Control) facts() node.Facts {
	f := c.control.Facts()
	if c.outside != nil {
		more := c.outside.Facts()
		f.Queues, f.Notes = append(f.Queues, more.Queues...), append(f.Notes, more.Notes...)
	}
	if c.dubbo != nil {
		f.Queues = append(f.Queues, c.dubbo.Facts().Queues...)
	}
	f.Notes = append(append(f.Notes, c.bridgeNotes()...), c.upkeepNotes()...)
	return f
}

// bridgeNotes are what an operator should know of the bridge.
func (c *Control) bridgeNotes() []string {
	if c.bridge == nil {
		return nil
	}
	s := c.bridge.Status()
	if s.Problem != "" {
		return []string{"cannot write applications into ZooKeeper; what is there stays, and it goes on trying: " + s.Problem}
	}
	var notes []string
	for _, u := range s.Unknown {
		if u.Instances == 1 {
			notes = append(notes, fmt.Sprintf("1 instance of %s is not written into ZooKeeper, since it is not known what it offers: %s", u.App, u.Why))
			continue
		}
		notes = append(notes, fmt.Sprintf("%d instances of %s are not written into ZooKeeper, since it is not known what they offer: %s", u.Instances, u.App, u.Why))
	}
	for _, f := range s.Failing {
		notes = append(notes, fmt.Sprintf("providers of %s are not written into ZooKeeper; what is there stays, and it goes on trying: %s", f.Interface, f.Why))
	}
	return notes
}

// serveRegistry shows what the control plane sees of its cluster.
func (c *Control) serveRegistry(h *httpapi.API) {
	registryapi.Register(h, registryapi.Deps{Registry: c.deps.Registry})
}

// serveTraces adds what the console shows of traces. The control plane reads what
// the collectors store, on its own connections, and writes none of it.
func (c *Control) serveTraces(h *httpapi.API) (err error) {
	if c.traces, err = tracingpg.Open(c.pool, tracingpg.Config{Log: c.deps.Log}); err != nil {
		return err
	}
	query.Register(h, query.ViewConfig{Store: c.traces})
	return nil
}

// serveConsole joins what is served elsewhere into the console's views, and says to
// the other control planes that this one lives. It comes last.
func (c *Control) serveConsole(h *httpapi.API) {
	d := c.deps
	self := selfOf(d.Env, ControlName, d.Node, c.facts)
	console.Register(h, console.Deps{
		System: console.SystemDeps{
			Self: self, Registry: d.Registry, Governance: c.policies, Tracing: c.traces, Gateways: c.routes, Fleet: c.policies,
			Database: func(ctx context.Context) (node.Database, error) { return pg.About(ctx, c.pool) },
			Heard:    c.heard.Last, Log: d.Log,
		},
		Governance: c.policies, Routes: c.routes, Behind: c.control.Behind,
		Gateway: governance.App{Namespace: SystemNamespace, Name: GatewayName},
	})
	c.works = append(c.works, func(ctx context.Context) error { return node.Keep(ctx, c.policies, self, d.Log) })
}

// selfOf returns what a process says of itself as one role.
func selfOf(env Env, role, name string, facts func() node.Facts) func() node.Node {
	n := node.Node{Role: role, Name: cmp.Or(name, hostname()), Version: env.Version, Started: time.Now().UTC()}
	return func() node.Node {
		n := n
		n.Facts = facts()
		return n
	}
}
