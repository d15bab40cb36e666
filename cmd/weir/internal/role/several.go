package role

import (
	"context"
	"time"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/kube"
)

// firstWait is how long a control plane waits for a cluster that has not answered yet,
// once: less than its APIs wait for an answer.
const firstWait = time.Second

// Wide opens what a control plane asks of the applications of all clusters: those of
// home, which is open already, and of several others. What only governing takes is
// home's, since each cluster is governed from inside. closing ends all but home.
func Wide(ctx context.Context, several *cluster.Several, home *kube.Hub, base kube.Config, kubeconfig string) (wide Registry, closing func(), err error) {
	all, closing, err := several.Open(ctx, home, base, kubeconfig, clusters.Config{FirstWait: firstWait, Logger: base.Logger})
	if err != nil {
		return nil, nil, err
	}
	return struct {
		*clusters.Registry
		registry.Inspector
		registry.Locator
	}{all, home, home}, closing, nil
}
