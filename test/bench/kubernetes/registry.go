//go:build linux

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
	"github.com/weirmesh/weir/test/bench/dubbo"
	"github.com/weirmesh/weir/test/bench/plan"
)

// offer stores what the applications offer through Weir's registry, as their
// providers would, and returns the annotation of each application's pods.
func (c *Cluster) offer(ctx context.Context) (annotations []string, err error) {
	hub, err := kube.Open(ctx, kube.Config{
		Kubeconfig: c.kubeconfig, Namespaces: []string{Namespace}, Lazy: true,
		Identity: kube.Identity{Namespace: Namespace}, QPS: 1000, Burst: 1000,
	})
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	annotations = make([]string, c.plan.Apps)
	err = each(c.plan.Apps, func(i int) error {
		app := registry.App{Namespace: Namespace, Name: plan.AppName(i)}
		o, err := dubbo.NewOffer(c.plan, i)
		if err != nil {
			return err
		}
		if err := hub.PutMetadata(ctx, app, o.Revision, o.Document); err != nil {
			return fmt.Errorf("store metadata of %s: %w", app, err)
		}
		if err := hub.MapInterface(ctx, registry.Interface{Name: plan.InterfaceName(i)}, app); err != nil {
			return fmt.Errorf("map %s: %w", plan.InterfaceName(i), err)
		}
		text, err := json.Marshal(o.Metadata)
		annotations[i] = string(text)
		return err
	})
	return annotations, err
}
