package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/registry/zookeeper"
	"github.com/weirmesh/weir/sdk"
)

// unasked names a database that nobody dials: pools dial at the first question.
const unasked = "postgres://localhost/weir?sslmode=disable"

// Describe returns the OpenAPI document that a control plane of this version
// serves. It is for what is made from it, above all the console's types: it needs
// no database, no cluster and no network, and says the same each time.
func Describe(ctx context.Context, version string) (*huma.OpenAPI, error) {
	env := Env{Version: version, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: new(run.Health)}
	pool, err := pg.Open(ctx, unasked, poolOptions(env, ControlName, true))
	if err != nil {
		return nil, fmt.Errorf("describe the APIs: %w", err)
	}
	cluster := NewLate()
	c := NewControl(ControlDeps{Env: env, Registry: cluster, Reviewer: cluster, AgentlessPods: 1, DubboConfigClients: 1})
	api, err := c.assemble(pool)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("describe the APIs: %w", err)
	}
	return api.Huma().OpenAPI(), c.Close(ctx)
}

// undialled is a bridge to a ZooKeeper that nobody dials, since it does not run.
func undialled() *zookeeper.BridgeConfig {
	return &zookeeper.BridgeConfig{ZooKeeper: zookeeper.Config{Servers: "zookeeper.invalid"}, Name: "any", Apps: []string{"any/*"}}
}

// Instruments registers what a role that runs as a process of its own measures. It
// needs no database, no cluster and no network; dir takes the files of the role. The
// instruments can be read until done is called. It is for what is made from them:
// the reference of metrics.
func Instruments(ctx context.Context, name string, metrics prometheus.Registerer, dir string) (done func() error, err error) {
	env := Env{Log: slog.New(slog.DiscardHandler), Metrics: metrics, Health: new(run.Health)}
	var service Service
	cluster := NewLate()
	switch name {
	case ControlName:
		c := NewControl(ControlDeps{Env: env, Registry: cluster, Reviewer: cluster, AgentlessPods: 1, DubboConfigClients: 1, Bridge: undialled(), Upkeep: true})
		var pool *pgxpool.Pool
		if pool, err = pg.Open(ctx, unasked, poolOptions(env, ControlName, true)); err == nil {
			_, err = c.assemble(pool)
		}
		service = c
	case GatewayName:
		g := NewGateway(GatewayDeps{
			Env: env, DatabaseURL: unasked, Registry: cluster, Dir: dir, Node: name,
			Kit: sdk.Config{ControlURL: sdk.Off, TracingURL: sdk.Off},
		})
		service, err = g, g.assemble(ctx)
	case TracingName:
		t := NewTracing(TracingDeps{Env: env, DatabaseURL: unasked, Node: name, Dir: dir, SpoolMB: 1, Retention: DefaultSpanRetention})
		service, err = t, t.assemble(ctx)
	default:
		return nil, fmt.Errorf("there is no role %q", name)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("put together the role %s: %w", name, err), service.Close(ctx))
	}
	return func() error { return service.Close(ctx) }, nil
}
