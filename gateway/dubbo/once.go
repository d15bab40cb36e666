package dubbo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// Once calls a method of one instance, of which no route knows, and returns the JSON
// of what it answers. Arguments come from "query.NAME", which args holds. The error is
// that of the call, with what the provider said. It opens a connection and closes it
// again.
func Once(ctx context.Context, i *registry.Instance, call gateway.Dubbo, args url.Values) ([]byte, error) {
	app, err := registry.ParseApp(call.App, "")
	if err != nil {
		return nil, err
	}
	d, err := New(Config{Discoverer: alone{registry.Snapshot{App: app, Instances: []registry.Instance{*i}}}})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	h, err := d.Compile(gateway.Route{Namespace: app.Namespace, Name: "once", Match: gateway.Match{Path: "/"}, Upstream: gateway.Upstream{Dubbo: &call}})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/?"+args.Encode(), nil)
	if err != nil {
		return nil, err
	}
	w := &written{header: http.Header{}}
	h.ServeHTTP(w, r)
	if w.status == http.StatusOK {
		return w.body.Bytes(), nil
	}
	var problem struct{ Title, Detail string }
	if err := json.Unmarshal(w.body.Bytes(), &problem); err != nil || problem.Detail == "" {
		return nil, fmt.Errorf("the call failed with status %d", w.status)
	}
	return nil, errors.New(problem.Detail)
}

// written keeps what a handler writes.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *written) Header() http.Header { return a.header }

func (a *written) WriteHeader(status int) { a.status = status }

func (a *written) Write(b []byte) (int, error) { return a.body.Write(b) }

// alone is a registry of one application, which does not change.
type alone struct{ app registry.Snapshot }

func (a alone) Snapshot(context.Context, registry.App) (registry.Snapshot, error) { return a.app, nil }

func (a alone) Subscribe(_ registry.App, notify func(registry.Snapshot)) (stop func(), err error) {
	notify(a.app)
	return func() {}, nil
}

func (a alone) Apps(context.Context, string) ([]registry.App, error) {
	return []registry.App{a.app.App}, nil
}
