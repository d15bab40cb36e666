package up

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/client"
	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/cmd/weir/internal/routefile"
	"github.com/weirmesh/weir/gateway"
	gatewayapi "github.com/weirmesh/weir/gateway/api"
)

// shopReason is why the shop's routes are written; by it a later start knows
// which of them nobody has changed since.
const shopReason = "part of the example shop"

// findRoutes reads the shop's routes, which stand beside its manifests; none is
// no failure.
func findRoutes(manifests string) ([]routefile.Route, error) {
	files, err := filepath.Glob(filepath.Join(filepath.Dir(manifests), "routes", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, err
	}
	routes, err := routefile.Load(files, nil)
	if err != nil {
		return nil, fmt.Errorf("the shop's routes: %w", err)
	}
	return routes, nil
}

// writeRoutes writes the shop's routes by the API, as its owner would. What
// somebody else has changed or deleted stays as they left it.
func (s *shop) writeRoutes(ctx context.Context) error {
	if len(s.routes) == 0 {
		return nil
	}
	cl := client.New(client.Config{Server: s.console.url(), DataDir: s.up.Config.DataDir, Timeout: 15 * time.Second}, s.up.Version)
	defer cl.Close()
	for _, r := range s.routes {
		if err := writeRoute(ctx, cl, r.Route); err != nil {
			return fmt.Errorf("the shop's route %s: %w", r.Key(), err)
		}
	}
	return nil
}

func writeRoute(ctx context.Context, cl *client.Client, r gateway.Route) error {
	path := client.Path("/api/v1/routes", r.Namespace, r.Name)
	var history gatewayapi.History
	_, err := cl.Do(ctx, client.Request{Path: path + "/history", Query: map[string][]string{"limit": {"1"}}}, &history)
	header := make(http.Header)
	switch {
	case client.Status(err) == http.StatusNotFound:
		header.Set("If-None-Match", "*")
	case err != nil:
		return err
	case len(history.Items) == 0 || history.Items[0].Reason != shopReason || history.Items[0].Actor != "token:"+role.CLITokenName:
		return nil
	case !history.Items[0].Deleted && gateway.Equal(history.Items[0].Route, r):
		return nil // nothing to write, and nothing to audit
	default:
		header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(history.Items[0].Revision)))
	}
	_, err = cl.Do(ctx, client.Request{
		Method: http.MethodPut, Path: path, Body: r, Reason: shopReason, Header: header,
		Query: map[string][]string{"allowUnknown": {"true"}}, // its Services are being made
	}, nil)
	if client.Status(err) == http.StatusPreconditionFailed {
		return nil // somebody was faster
	}
	return err
}
