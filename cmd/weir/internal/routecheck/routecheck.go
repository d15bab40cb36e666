// Package routecheck looks at whether the registry knows what routes point to.
package routecheck

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/internal/balance"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/registry"
)

// patience bounds all questions to the registry of one check, which a write
// waits for.
const patience = 2 * time.Second

// Apps warns of applications and ports that the registry does not know. It is a
// gateway.Checker, safe for concurrent use.
type Apps struct {
	Registry registry.Discoverer
}

var _ gateway.Checker = Apps{}

// Check implements gateway.Checker. What the registry cannot tell in time is no
// warning.
func (a Apps) Check(ctx context.Context, routes []gateway.Route) []gateway.Warning {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q := question{registry: a.Registry, answers: map[registry.App]*registry.Snapshot{}}
	var out []gateway.Warning
	for _, r := range routes {
		field, name := "upstream.app", r.Upstream.App
		if d := r.Upstream.Dubbo; d != nil {
			field, name = "upstream.dubbo.app", d.App
		}
		if name == "" {
			continue
		}
		app, err := registry.ParseApp(name, r.Namespace)
		if err != nil {
			continue // which the route's own check tells
		}
		s := q.snapshot(ctx, app)
		switch {
		case s == nil:
		case !s.Known():
			message := fmt.Sprintf("no application %s is known", app)
			if near := q.nearest(ctx, app); near != "" {
				message += "; did you mean " + near + "?"
			} else {
				message += ": the route is served once there is one"
			}
			out = append(out, gateway.Warning{Key: r.Key(), Field: field, Message: message, Unknown: true})
		case r.Upstream.App != "":
			if says := port(s, r.Upstream.Port); says != "" {
				out = append(out, gateway.Warning{Key: r.Key(), Field: "upstream.port", Message: says})
			}
		}
	}
	return out
}

// port says what is wrong with the choice of a port, by the rules of
// gateway.Upstream.
func port(s *registry.Snapshot, want string) string {
	ports := s.Service.Ports
	if len(ports) == 0 {
		return ""
	}
	if balance.Find(ports, want, false) >= 0 {
		return ""
	}
	var names []string
	for _, p := range ports {
		names = append(names, strings.TrimSpace(p.Name+" "+strconv.Itoa(int(p.Port))))
	}
	list := strings.Join(names, ", ")
	if want == "" {
		return fmt.Sprintf("%s has several ports and none named http: name one of %s", s.App, list)
	}
	return fmt.Sprintf("%s has no port %s: it has %s", s.App, want, list)
}

// question asks for each application once.
type question struct {
	registry registry.Discoverer
	answers  map[registry.App]*registry.Snapshot
	known    []string
	asked    bool
}

// snapshot is nil for what cannot be told.
func (q *question) snapshot(ctx context.Context, app registry.App) *registry.Snapshot {
	if s, asked := q.answers[app]; asked {
		return s
	}
	q.answers[app] = nil
	if s, err := q.registry.Snapshot(ctx, app); err == nil {
		q.answers[app] = &s
	}
	return q.answers[app]
}

// nearest names the application that was probably meant.
func (q *question) nearest(ctx context.Context, app registry.App) string {
	if !q.asked {
		q.asked = true
		apps, err := q.registry.Apps(ctx, "")
		if err != nil {
			apps = nil // then there is no name to suggest
		}
		for _, a := range apps {
			q.known = append(q.known, a.String())
		}
	}
	return config.Nearest(app.String(), q.known)
}

// All asks several checkers. Of doubts about one field of a route the first
// stands: who says that an application is unknown makes a later word that it has
// no instances idle.
type All []gateway.Checker

// Check implements gateway.Checker.
func (all All) Check(ctx context.Context, routes []gateway.Route) []gateway.Warning {
	type place struct {
		key   gateway.Key
		field string
	}
	seen := map[place]bool{}
	var out []gateway.Warning
	for _, c := range all {
		mine := c.Check(ctx, routes)
		for _, w := range mine {
			if !seen[place{w.Key, w.Field}] {
				out = append(out, w)
			}
		}
		for _, w := range mine {
			seen[place{w.Key, w.Field}] = true
		}
	}
	return out
}
