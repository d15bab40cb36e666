package role

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/run"
)

// Describe returns the OpenAPI document that a control plane of this version
// serves. It is for what is made from it, above all the console's types: it needs
// no database, no cluster and no network, and says the same each time.
func Describe(ctx context.Context, version string) (*huma.OpenAPI, error) {
	env := Env{Version: version, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Health: new(run.Health)}
	// Nothing dials before the first question, and nobody asks one.
	pool, err := pg.Open(ctx, "postgres://localhost/weir?sslmode=disable", poolOptions(env, ControlName, true))
	if err != nil {
		return nil, fmt.Errorf("describe the APIs: %w", err)
	}
	cluster := NewLate()
	c := NewControl(ControlDeps{Env: env, Registry: cluster, Reviewer: cluster})
	c.pool = pool
	api, err := c.register()
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("describe the APIs: %w", err)
	}
	return api.Huma().OpenAPI(), c.Close(ctx)
}
