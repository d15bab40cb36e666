package up

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/internal/run"
)

// hosted is a role of Weir, run in this process.
type hosted struct {
	up   *Up
	name string
	// listen is where it serves on this machine, flag what sets it.
	listen, flag string
	needs        []string
	make         func(env role.Env) role.Service
	// note adds to what the board says of it; it may be nil.
	note func() string

	mu     sync.Mutex
	served *role.Served
}

func (h *hosted) part() run.Part {
	check := h.up.health.Check(h.name, "starting")
	return run.Part{
		Name: h.name, Needs: h.needs,
		Start: func(ctx context.Context) error { return h.start(ctx, check) },
		Watch: func(ctx context.Context) error { return h.get().Watch(ctx) },
		Stop: func(ctx context.Context) error {
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
		Servers: []run.ServerConfig{{Address: h.listen, Flag: "--" + h.flag, Log: log}},
	}
	h.mu.Lock()
	h.served = served
	h.mu.Unlock()
	if err := served.Start(ctx); err != nil {
		return err
	}
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
func (u *Up) hostConsole(db *database, late *role.Late) *hosted {
	password := ""
	return &hosted{
		up: u, name: partConsole, listen: u.Config.ControlListen, flag: role.ControlListen, needs: []string{partPostgres},
		make: func(env role.Env) role.Service {
			return role.NewControl(role.ControlDeps{
				Env: env, DatabaseURL: db.url, Registry: late, Reviewer: late, DataDir: u.Config.DataDir,
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
