package role

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/gateway/dubbo"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/registry/zookeeper"
)

// Bridge are the settings of what a control plane writes into ZooKeeper, for consumers
// that can look there only.
type Bridge struct {
	// ZooKeeper is the ensemble, host:port; empty for no bridge.
	ZooKeeper string
	Auth      string
	Node      string // below which Dubbo keeps providers by interface
	Apps      []string
	Protocols []string
	// Name tells the bridges of several clusters apart; the cluster's own id when
	// empty.
	Name string
}

const bridgeFlag = "zookeeper-bridge"

func bridgeDefaults() Bridge {
	return Bridge{Node: zookeeper.DefaultInterfaces, Protocols: []string{"dubbo"}}
}

func (b *Bridge) flags(fs *pflag.FlagSet) {
	fs.StringVar(&b.ZooKeeper, bridgeFlag, b.ZooKeeper, "ZooKeeper to write applications into, host:2181, for consumers of Dubbo 2 that have not left it; empty for none")
	fs.StringSliceVar(&b.Apps, bridgeFlag+"-apps", b.Apps, "applications to write into it: shop/inventory, or shop/* for all of a namespace")
	fs.StringSliceVar(&b.Protocols, bridgeFlag+"-protocols", b.Protocols, "protocols to write into it")
	fs.StringVar(&b.Name, bridgeFlag+"-name", b.Name, "what tells the nodes of this cluster's control planes in ZooKeeper from others' (default: the UID of the namespace kube-system)")
	fs.StringVar(&b.Node, bridgeFlag+"-node", b.Node, "node below which Dubbo keeps providers by interface: the group of its registry")
	fs.StringVar(&b.Auth, bridgeFlag+"-auth", b.Auth, "user:password for ZooKeeper's scheme digest")
	config.Secret(fs, bridgeFlag+"-auth")
}

func (b *Bridge) validate() error {
	if b.ZooKeeper == "" {
		if len(b.Apps) > 0 {
			return fmt.Errorf("--%s-apps names applications to write, and --%s no ZooKeeper: give both or none", bridgeFlag, bridgeFlag)
		}
		return nil
	}
	cfg := b.config()
	if cfg.Name == "" {
		cfg.Name = "any" // found out later
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("--%s: %w", bridgeFlag, err)
	}
	return nil
}

func (b *Bridge) config() zookeeper.BridgeConfig {
	return zookeeper.BridgeConfig{
		ZooKeeper: zookeeper.Config{Servers: b.ZooKeeper, Auth: b.Auth, Interfaces: b.Node}, Name: b.Name, Apps: b.Apps, Protocols: b.Protocols,
	}
}

// errNoCluster is returned where there is nothing to bridge from.
var errNoCluster = errors.New("--" + bridgeFlag + " writes what a cluster knows, and none is named: give --kubeconfig, or run it as a pod")

// named completes the settings with the cluster's id.
func (b *Bridge) named(ctx context.Context, target *cluster.Target) (*zookeeper.BridgeConfig, error) {
	out := b.config()
	if out.Name != "" {
		return &out, nil
	}
	var err error
	if out.Name, err = target.ID(ctx); err != nil {
		return nil, fmt.Errorf("nodes in ZooKeeper are told from others' by their cluster, and which this is cannot be read: %w; or give --%s-name", err, bridgeFlag)
	}
	return &out, nil
}

// serveBridge writes applications into ZooKeeper, where that is asked for.
func (c *Control) serveBridge() error {
	d := c.deps
	if d.Bridge == nil || d.Registry == nil {
		return nil
	}
	cfg := *d.Bridge
	cfg.Ask = dubbo.AskOffers
	cfg.Node, cfg.Logger, cfg.Metrics = selfOf(d.Env, ControlName, d.Node, c.control.Facts)().Name, d.Log.With("part", "bridge"), d.Metrics
	var err error
	if c.bridge, err = zookeeper.NewBridge(d.Home, d.Home, cfg); err != nil {
		return err
	}
	c.works = append(c.works, c.bridge.Run)
	return nil
}
