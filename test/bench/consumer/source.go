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
	default:
		return nil, fmt.Errorf("no backend %q", args.Backend)
	}
}
