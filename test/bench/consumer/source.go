//go:build linux

package consumer

import (
	"context"
	"fmt"
)

func open(ctx context.Context, args OpenArgs, t *tap) (source, error) {
	switch args.Backend {
	case ZooKeeper:
		return openZooKeeper(ctx, args, t)
	case Weir:
		return newWeirSource(ctx, args, t)
	case Hub:
		return newHubSource(ctx, args, t)
	case Nothing:
		return nil, nil //nolint:nilnil // such a consumer subscribes to nothing
	default:
		return nil, fmt.Errorf("no backend %q", args.Backend)
	}
}
