package role

import (
	"context"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/routecheck"
	gatewayapi "github.com/weirmesh/weir/gateway/api"
	"github.com/weirmesh/weir/gateway/dubbo"
	gatewaypg "github.com/weirmesh/weir/gateway/postgres"
	"github.com/weirmesh/weir/gateway/proxy"
	"github.com/weirmesh/weir/governance"
	governanceapi "github.com/weirmesh/weir/governance/api"
	governancepg "github.com/weirmesh/weir/governance/postgres"
	"github.com/weirmesh/weir/internal/httpapi"
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
	store := gatewaypg.New(c.pool, gatewaypg.Options{Log: c.deps.Log})
	roleMetrics(c.deps.Env, ControlName).MustRegister(store.Listener())
	c.closes = append(c.closes, store.Close)
	o := gatewayapi.Options{Explainer: proxy.NewExplainer(c.deps.Registry)}
	if known := c.deps.Registry; known != nil {
		o.Checker = routecheck.All{routecheck.Apps{Registry: known}, dubbo.Checker{Discoverer: known, Metadata: known}}
	}
	gatewayapi.Register(h, store, o)
}

// serveGovernance adds policies, switches, history, and the instances' stream.
func (c *Control) serveGovernance(h *httpapi.API) {
	d := c.deps
	store := governancepg.New(c.pool, governancepg.Options{Log: d.Log, Retention: d.History, Metrics: d.Metrics})
	cfg := governanceapi.Config{Store: store, Log: d.Log, Metrics: d.Metrics}
	if d.Registry != nil {
		cfg.Known = func(ctx context.Context, app governance.App) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, knowPatience)
			defer cancel()
			s, err := d.Registry.Snapshot(ctx, registry.App{Namespace: app.Namespace, Name: app.Name})
			return err == nil && s.Known(), err
		}
	}
	api := governanceapi.New(cfg)
	api.Register(h)
	c.ready = append(c.ready, api.Ready)
	c.works = append(c.works, store.Run, api.Run)
	d.Health.Ask("policies", api.Ready)
}

// serveRegistry shows what the control plane sees of its cluster.
func (c *Control) serveRegistry(h *httpapi.API) {
	registryapi.Register(h, registryapi.Deps{Registry: c.deps.Registry})
}

// serveTraces adds what the console shows of traces. The control plane reads what
// the collectors store, on its own connections, and writes none of it.
func (c *Control) serveTraces(h *httpapi.API) error {
	store, err := tracingpg.Open(c.pool, tracingpg.Config{Log: c.deps.Log})
	if err != nil {
		return err
	}
	query.Register(h, query.ViewConfig{Store: store})
	return nil
}
