//go:build linux

package discovery

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weirmesh/weir/test/bench/child"
	"github.com/weirmesh/weir/test/bench/consumer"
	"github.com/weirmesh/weir/test/bench/kubernetes"
	"github.com/weirmesh/weir/test/bench/zookeeper"
)

// prepareZooKeeper starts a server and registers the plan in it.
func (r *run) prepareZooKeeper(ctx context.Context) error {
	dir := filepath.Join(r.dir, "zookeeper")
	r.say("starting ZooKeeper …")
	server, err := zookeeper.Start(ctx, dir, r.options.ZooKeeperJar)
	if err != nil {
		return err
	}
	r.atEnd(server.Stop)
	providers, err := child.Start(zookeeper.Role, filepath.Join(dir, "providers"))
	if err != nil {
		return err
	}
	r.atEnd(providers.Kill) // by its sessions' end the server need not know
	r.say("ZooKeeper: registering %d instances through dubbo-go …", r.options.Plan.Instances)
	if err := providers.Call(ctx, "register", zookeeper.RegisterArgs{Plan: r.options.Plan, Address: server.Address()}, nil); err != nil {
		return err
	}
	r.subjects = append(r.subjects, subject{
		backend: consumer.ZooKeeper,
		target: func(bool) consumer.OpenArgs {
			return consumer.OpenArgs{Backend: consumer.ZooKeeper, Plan: r.options.Plan, Address: server.Address()}
		},
		change: func(ctx context.Context, instance int, up bool) (int64, int64, error) {
			var c zookeeper.Changed
			err := providers.Call(ctx, "change", zookeeper.ChangeArgs{Instance: instance, Up: up}, &c)
			return c.Asked, c.Taken, err
		},
		outage: func(ctx context.Context, down time.Duration) error {
			server.Kill()
			if err := pause(ctx, down); err != nil {
				return err
			}
			return server.Restart(ctx)
		},
		upgrade: func(ctx context.Context, from int) ([]kubernetes.Replaced, error) {
			var asked []int64
			err := providers.Call(ctx, "upgrade", zookeeper.UpgradeArgs{
				From: from, Unavailable: r.options.Rollout.Unavailable, Starts: r.options.Rollout.Starts,
			}, &asked)
			out := make([]kubernetes.Replaced, len(asked))
			for i, at := range asked {
				out[i].Asked = at
			}
			return out, err
		},
		memory: func(context.Context) (uint64, error) {
			memory, err := child.RSS(strconv.Itoa(server.Pid()))
			if err != nil {
				return 0, fmt.Errorf("ZooKeeper's memory: %w", err)
			}
			return memory, nil
		},
	})
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
