package up

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/sdk"
)

// nodeName names the roles of a weir up among their like.
const nodeName = "up"

// hosted is a role of Weir, run in this process.
type hosted struct {
	up   *Up
	name string
	// listen is where it serves on this machine, flag what sets it.
	listen, flag string
	h2c          bool // as in run.ServerConfig
	needs, uses  []string
	make         func(env role.Env) role.Service
	// stopped is called once it has stopped; it may be nil.
	stopped func()
	// note adds to what the board says of it; it may be nil.
	note func() string

	mu      sync.Mutex
	served  *role.Served
	serving chan struct{} // closed once it is reached
}

func (h *hosted) part() run.Part {
	h.serving = make(chan struct{})
	check := h.up.health.Check(h.name, "starting")
	return run.Part{
		Name: h.name, Needs: h.needs, Uses: h.uses,
		Start: func(ctx context.Context) error { return h.start(ctx, check) },
		Watch: func(ctx context.Context) error { return h.get().Watch(ctx) },
		Stop: func(ctx context.Context) error {
			if h.stopped != nil {
				defer h.stopped()
			}
			if s := h.get(); s != nil {
				return s.Stop(ctx)
			}
			return nil
		},
	}
}

func (h *hosted) get() *role.Served {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served
}

func (h *hosted) start(ctx context.Context, check *run.Check) error {
	log := h.up.log.With("part", h.name)
	served := &role.Served{
		Service: h.make(role.Env{Version: h.up.Version, Log: log, Metrics: h.up.metrics, Health: &h.up.health}),
		Ready:   check,
		Servers: []run.ServerConfig{{Address: h.listen, Flag: "--" + h.flag, H2C: h.h2c, Log: log}},
	}
	h.mu.Lock()
	h.served = served
	h.mu.Unlock()
	if err := served.Start(ctx); err != nil {
		return err
	}
	close(h.serving)
	text := h.url()
	if h.note != nil {
		if note := h.note(); note != "" {
			text += "   " + note
		}
	}
	h.up.ready(h.name, text)
	return nil
}

// url is where the role is reached on this machine; "" before it is.
func (h *hosted) url() string {
	s := h.get()
	if s == nil || s.Addr() == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(s.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return fmt.Sprintf("http://%s", net.JoinHostPort(host, port))
}

// hostConsole is the control plane with its APIs.
func (u *Up) hostConsole(db *database, late, home *role.Late) *hosted {
	password := ""
	return &hosted{
		up: u, name: partConsole, listen: u.Config.ControlListen, flag: role.ControlListen, needs: []string{partPostgres},
		make: func(env role.Env) role.Service {
			return role.NewControl(role.ControlDeps{
				Env: env, DatabaseURL: db.url, Node: nodeName, Grace: access.DefaultGrace, Registry: late, Home: home, Reviewer: home,
				AgentlessPods: role.ControlDefaults().AgentlessPods, DubboConfigClients: role.ControlDefaults().DubboConfigClients,
				// In somebody else's cluster nothing is written, and nothing deleted, without a word.
				Upkeep: u.own() || u.Config.Install, RevisionGrace: role.DefaultRevisionGrace,
				Password: func(p string) { password = p },
			})
		},
		note: func() string {
			if password == "" {
				return "(user " + role.AdminAccount + ")"
			}
			return "(user " + role.AdminAccount + ", password " + password + ", shown this once)"
		},
	}
}

// hostGateway is the data plane. It waits for the database only where that is a
// private one, whose address is not known before.
func (u *Up) hostGateway(db *database, late *role.Late, roles map[string]*hosted) *hosted {
	h := &hosted{up: u, name: partGateway, listen: u.Config.GatewayListen, flag: role.GatewayListen, h2c: true, uses: []string{partConsole, partTracing}}
	if u.Config.DatabaseURL == "" {
		h.needs = []string{partPostgres}
	}
	// Dials outlive the requests that they are for, but not the gateway.
	life, end := context.WithCancel(context.Background())
	reach := within(life, roles)
	h.stopped = func() {
		end()
		reach.CloseIdleConnections()
	}
	h.make = func(env role.Env) role.Service {
		return role.NewGateway(role.GatewayDeps{
			Env: env, DatabaseURL: cmp.Or(u.Config.DatabaseURL, db.url), Registry: late, Dir: u.Config.data("gateway"), Node: nodeName,
			Kit: sdk.Config{
				ControlURL: sdk.DefaultControlURL, TracingURL: sdk.DefaultTracingURL,
				TokenFile: role.GatewayToken(u.Config.DataDir).Path, HTTPClient: reach,
			},
		})
	}
	return h
}

// hostTracing is the collector. It waits for the database as the gateway does.
func (u *Up) hostTracing(db *database) *hosted {
	h := &hosted{up: u, name: partTracing, listen: u.Config.TracingListen, flag: role.TracingListen}
	if u.Config.DatabaseURL == "" {
		h.needs = []string{partPostgres}
	}
	h.make = func(env role.Env) role.Service {
		return role.NewTracing(role.TracingDeps{
			Env: env, DatabaseURL: cmp.Or(u.Config.DatabaseURL, db.url), Node: nodeName, Dir: u.Config.data("tracing"),
			SpoolMB: role.DefaultSpoolMB, Retention: role.DefaultSpanRetention,
		})
	}
	return h
}

// within returns a client that reaches the roles of this process by the names
// that they have in a cluster, wherever they serve, until life ends.
func within(life context.Context, roles map[string]*hosted) *http.Client {
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		IdleConnTimeout: 90 * time.Second,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			name, _, _ := strings.Cut(host, ".")
			h := roles[name]
			if h == nil {
				return nil, fmt.Errorf("there is no %s here", name)
			}
			select {
			case <-h.serving:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-life.Done():
				return nil, context.Cause(life)
			}
			return dialer.DialContext(ctx, network, strings.TrimPrefix(h.url(), "http://"))
		},
	}}
}
