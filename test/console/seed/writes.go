package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
)

// taken is a document that was not there before.
type taken struct{ path, what string }

// writeAll writes policies, switches and routes once the instances are there, so
// that those which lag or refuse have something to lag behind.
func (f *fleet) writeAll(ctx context.Context, c *client, out io.Writer) error {
	if !sleep(ctx, 3*time.Second) {
		return ctx.Err()
	}
	policies, switches := 0, 0
	for n, a := range f.apps {
		p, why := f.policyFor(a, n)
		if p == nil {
			continue
		}
		if err := f.putPolicy(ctx, c, *p, why); err != nil {
			return err
		}
		policies++
	}
	for _, a := range f.apps {
		if a.story != switched {
			continue
		}
		if err := f.pull(ctx, c, a.commands[0]); err != nil {
			return err
		}
		switches++
	}
	routes, err := f.putRoutes(ctx, c)
	fmt.Fprintf(out, "wrote %d policies, %d switches, %d routes\n", policies, switches, routes)
	return err
}

// policyFor is the policy of some applications, and why it is there.
func (f *fleet) policyFor(a *app, n int) (*governance.Policy, string) {
	target := governance.Target{App: a.name}
	switch {
	case a.story == forced:
		caller := f.callerOf(a.commands[0])
		if caller == nil {
			return nil, ""
		}
		target.Command, target.At, target.From = a.commands[0].name, governance.Caller, []governance.App{caller.name}
		return &governance.Policy{Target: target, Rules: governance.Rules{
			Breaker:  &governance.Breaker{Mode: governance.ModeForcedOpen},
			Fallback: &governance.Fallback{Empty: true},
		}}, "the vendor's maintenance runs until Monday, callers go without"
	case a.story == failing || a.story == behind || a.story == refusing:
		target.Command = a.commands[0].name
		return &governance.Policy{Target: target, Rules: governance.Rules{
			Breaker: &governance.Breaker{Window: seconds(10), MinCalls: 20, ErrorPercent: 50, OpenFor: seconds(29), Probes: 2},
			Timeout: governance.Duration(800 * time.Millisecond),
		}}, "answers got slower since the last release, fail early instead of queueing"
	case n%12 == 0:
		return &governance.Policy{Target: target, Rules: governance.Rules{
			Timeout: seconds(2), Bulkhead: &governance.Bulkhead{Concurrent: 64},
		}}, "limits for the season's sale, agreed in the capacity review"
	}
	return nil, ""
}

func seconds(n int) governance.Duration { return governance.Duration(time.Duration(n) * time.Second) }

func (f *fleet) callerOf(c *command) *app {
	for _, a := range f.apps {
		for _, k := range a.calls {
			if k.to == c {
				return a
			}
		}
	}
	return nil
}

// putPolicy writes one twice, first more loosely, so that it has a history; over
// one that is there, which may be of an earlier run, it writes a newer version.
func (f *fleet) putPolicy(ctx context.Context, c *client, p governance.Policy, why string) error {
	p = p.WithDefaults()
	path := "/api/v1/policies/" + p.Namespace + "/" + p.Name
	fresh, err := missing(ctx, c, path)
	if err != nil {
		return err
	}
	if fresh {
		f.undo = append(f.undo, taken{path, "policy"})
	}
	if p.Timeout != 0 {
		first := p
		first.Timeout = 3 * p.Timeout
		if err := c.call(ctx, http.MethodPut, path+"?allowUnknown=true", first, nil, reason("first values, from the load test of last week")); err != nil {
			return err
		}
	}
	return c.call(ctx, http.MethodPut, path+"?allowUnknown=true", p, nil, reason(why))
}

func (f *fleet) pull(ctx context.Context, c *client, cmd *command) error {
	target := governance.Target{App: cmd.app.name, Command: cmd.name}
	name := governance.DefaultName(governance.KindSwitch, target)
	// The body is that of the API's own operation, of which it is no wire type.
	body := map[string]any{"target": target, "value": json.RawMessage(`{"items":[],"degraded":true}`), "for": "45m"}
	path := "/api/v1/switches/" + cmd.app.name.Namespace + "/" + name
	fresh, err := missing(ctx, c, "/api/v1/policies/"+cmd.app.name.Namespace+"/"+name)
	if err != nil {
		return err
	}
	if fresh {
		f.undo = append(f.undo, taken{path, "switch"})
	}
	return c.call(ctx, http.MethodPost, "/api/v1/switches?allowUnknown=true", body, nil, reason("the recommendation model answers rubbish, empty lists until it is rolled back"))
}

// putRoutes gives the first applications a route each, some with two versions.
func (f *fleet) putRoutes(ctx context.Context, c *client) (int, error) {
	written := 0
	for n, a := range f.apps[:min(len(f.apps), 12)] {
		path := "/api/v1/routes/" + a.name.Namespace + "/" + a.name.Name
		fresh, err := missing(ctx, c, path)
		if err != nil {
			return written, err
		}
		if fresh {
			f.undo = append(f.undo, taken{path, "route"})
		}
		for round := range 1 + n%3 {
			r := gateway.Route{
				Namespace: a.name.Namespace, Name: a.name.Name,
				Match:    gateway.Match{Host: gateway.Strings{"api.example.com"}, Path: "/" + a.name.Namespace + "/" + a.name.Name + "/{rest...}"},
				Filters:  []gateway.Filter{{Timeout: &gateway.Timeout{Total: gateway.Duration(time.Duration(5-round) * time.Second)}}},
				Upstream: gateway.Upstream{App: a.name.String()},
			}
			if round == 2 {
				r.Filters = append(r.Filters, gateway.Filter{Retry: &gateway.Retry{Attempts: 2}})
			}
			why := []string{"opened for the app's next release", "the mobile app gives up after four seconds", "one try more while pods are replaced"}[round]
			if err := c.call(ctx, http.MethodPut, path+"?allowUnknown=true", r, nil, reason(why)); err != nil {
				return written, err
			}
		}
		written++
	}
	return written, nil
}

func missing(ctx context.Context, c *client, path string) (bool, error) {
	err := c.call(ctx, http.MethodGet, path, nil, nil, nil)
	var p *problem
	if errors.As(err, &p) && p.status == http.StatusNotFound {
		c.refused.Add(-1) // it was a question
		return true, nil
	}
	return false, err
}

// takeBack deletes what was not there before. It goes on after the time is over.
func (f *fleet) takeBack(c *client, out io.Writer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, t := range f.undo {
		var p *problem
		err := c.call(ctx, http.MethodDelete, t.path, nil, nil, reason("the made-up fleet has gone"))
		if err != nil && (!errors.As(err, &p) || p.status != http.StatusNotFound) {
			fmt.Fprintf(out, "the %s stays: %v\n", t.what, err)
		}
	}
}
