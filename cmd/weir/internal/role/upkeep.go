package role

import (
	"context"
	"fmt"

	"github.com/weirmesh/weir/registry/kube"
)

// keepObjects adds the care for Weir's own objects in the cluster.
func (c *Control) keepObjects() error {
	d := c.deps
	if d.Registry == nil || !d.Upkeep {
		return nil
	}
	grace := d.RevisionGrace
	if grace == 0 {
		grace = -1 // for ever
	}
	caretaker, err := kube.NewCaretaker(kube.CaretakerConfig{Grace: grace, Logger: d.Log.With("part", "upkeep"), Metrics: d.Metrics})
	if err != nil {
		return fmt.Errorf("keep the cluster's objects in order: %w", err)
	}
	c.caretaker = caretaker
	c.works = append(c.works, func(ctx context.Context) error {
		known := d.Home
		if late, ok := known.(*Late); ok {
			var err error
			if known, err = late.get(ctx); err != nil {
				return nil //nolint:nilerr // it ended before the cluster was there
			}
		}
		if hub, ok := known.(*kube.Hub); ok {
			return caretaker.Run(ctx, hub)
		}
		return nil // what is no cluster has no objects
	})
	return nil
}
