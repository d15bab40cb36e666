package up

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/run"
)

// database is PostgreSQL: the user's, or a private one.
type database struct {
	up     *Up
	server *pg.Server // nil for the user's
	url    string     // once started
	pool   *pgxpool.Pool
	check  *run.Check
}

func (d *database) part() run.Part {
	d.check = d.up.health.Check(partPostgres, "starting")
	return run.Part{Name: partPostgres, Start: d.start, Watch: d.watch, Stop: d.stop}
}

func (d *database) start(ctx context.Context) error {
	cfg := d.up.Config
	url := cfg.DatabaseURL
	var where string
	if url == "" {
		dir, err := postgresDir(ctx, cfg.data("postgres"), elsewhere)
		if err != nil {
			return err
		}
		d.up.board.detail(partPostgres, "private server in "+dir)
		server, err := pg.StartServer(ctx, pg.ServerConfig{
			Dir: dir, Port: cfg.PostgresPort, BinDir: cfg.PostgresBin, Log: d.up.log.With("part", partPostgres),
		})
		if errors.Is(err, pg.ErrNoBinaries) && cfg.PostgresBin != "" {
			return fmt.Errorf("%w; --postgres-bin named the directory", err)
		}
		if err != nil {
			return err
		}
		d.server = server
		url = server.URL()
		where = fmt.Sprintf("%s, data in %s", server.Address(), dir)
		if server.Adopted() {
			where += " (was running already)"
		}
	} else {
		where = pg.MaskURL(url)
		d.up.board.detail(partPostgres, where)
	}
	pool, err := pg.Open(ctx, url, pg.Options{Name: "weir up", Log: d.up.log.With("part", partPostgres)})
	if err != nil {
		return err
	}
	d.pool, d.url = pool, url
	d.up.metrics.MustRegister(pg.NewPoolCollector("up", pool))
	if err := role.Migrate(ctx, pool, d.up.log.With("part", partPostgres)); err != nil {
		return err
	}
	if err := role.KeepTokens(ctx, pool, role.CLIToken(cfg.DataDir), role.GatewayToken(cfg.DataDir)); err != nil {
		return err
	}
	d.check.OK()
	d.up.ready(partPostgres, where)
	return nil
}

// watch reports the private server's death. The user's server may come and go;
// readiness tells.
func (d *database) watch(ctx context.Context) error {
	if d.server != nil {
		return d.server.Wait(ctx)
	}
	return follow(ctx, func(ctx context.Context) {
		if err := d.pool.Ping(ctx); err != nil {
			d.check.Fail("the database does not answer: " + err.Error())
			d.up.set(partPostgres, "away", "the database does not answer")
			return
		}
		d.check.OK()
		d.up.set(partPostgres, "ready", pg.MaskURL(d.up.Config.DatabaseURL))
	})
}

func (d *database) stop(ctx context.Context) error {
	d.check.Fail("stopping")
	if d.pool != nil {
		d.pool.Close()
	}
	if d.server == nil {
		return nil
	}
	return d.server.Close(ctx)
}
