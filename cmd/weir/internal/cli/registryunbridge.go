package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/zookeeper"
)

// unbridgeConfig are the settings of `weir registry unbridge`.
type unbridgeConfig struct {
	ZooKeeper zookeeper.Config
	Timeout   time.Duration
}

func unbridgeDefaults() *unbridgeConfig {
	return &unbridgeConfig{ZooKeeper: zookeeper.Config{Interfaces: zookeeper.DefaultInterfaces}, Timeout: 30 * time.Second}
}

func (c *unbridgeConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.ZooKeeper.Servers, zookeeperFlag, c.ZooKeeper.Servers, "ZooKeeper that a bridge wrote into, host:2181 (required)")
	fs.StringVar(&c.ZooKeeper.Auth, zookeeperAuthFlag, c.ZooKeeper.Auth, "user:password for ZooKeeper's scheme digest, where its nodes are not for everybody")
	config.Secret(fs, zookeeperAuthFlag)
	fs.StringVar(&c.ZooKeeper.Interfaces, zookeeperInterfacesFlag, c.ZooKeeper.Interfaces, "node below which Dubbo keeps providers by interface: the group of its registry")
	fs.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long it may take")
}

func (c *unbridgeConfig) validate() error {
	if c.ZooKeeper.Servers == "" {
		return errors.New("no ZooKeeper is named: give --zookeeper host:2181")
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout %s leaves no time: give a duration such as 30s", c.Timeout)
	}
	return c.ZooKeeper.Validate()
}

func (m *Main) registryUnbridge() *cobra.Command {
	cfg := unbridgeDefaults()
	fs := pflag.NewFlagSet("registry unbridge", pflag.ContinueOnError)
	cfg.flags(fs)
	c := &cobra.Command{
		Use:   "unbridge [NAME]",
		Short: "Remove from ZooKeeper what a bridge that no longer runs wrote there",
		Long: `Unbridge removes the providers that control planes with --zookeeper-bridge wrote
into ZooKeeper, when nobody looks there any more. What they write outlives them, so
that their end takes nothing from consumers. It touches nothing else, and nothing
of a bridge that still runs.

Without a name it lists the bridges that have written there.`,
		Example: `  weir registry unbridge --zookeeper zk.example:2181
  weir registry unbridge --zookeeper zk.example:2181 2f3c6a0e-5a2b-4a55-9a41-5e7f3c1d9b70`,
		Args: cobra.MaximumNArgs(1),
	}
	addSettings(c, fs)
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := m.load(c, fs); err != nil {
			return err
		}
		if err := cfg.validate(); err != nil {
			return usage(err)
		}
		ctx, cancel := context.WithTimeoutCause(c.Context(), cfg.Timeout, fmt.Errorf("no end within %s; --timeout gives more", cfg.Timeout))
		defer cancel()
		client, err := zookeeper.Dial(ctx, cfg.ZooKeeper)
		if err != nil {
			if registry.CodeOf(err) == registry.Unavailable && c.Context().Err() == nil {
				return coded(ExitLacking, err)
			}
			return explain(c.Context(), err)
		}
		defer client.Close()
		if len(args) == 0 {
			return m.listBridges(ctx, client)
		}
		removed, err := client.Unbridge(ctx, args[0])
		if removed > 0 || err == nil {
			fmt.Fprintf(m.Stdout, "removed %d providers of bridge %s from ZooKeeper\n", removed, args[0])
		}
		return explain(c.Context(), err)
	}
	return c
}

func (m *Main) listBridges(ctx context.Context, client *zookeeper.Client) error {
	bridges, err := client.Bridges(ctx)
	if err != nil {
		return err
	}
	if len(bridges) == 0 {
		_, err := fmt.Fprintln(m.Stdout, "no bridge has written into ZooKeeper at "+client.Servers())
		return err
	}
	for _, b := range bridges {
		state := "does not run"
		if b.Runs {
			state = "runs in " + b.Node
		}
		fmt.Fprintf(m.Stdout, "%s   %d providers, %s\n", b.Name, b.Providers, state)
	}
	return nil
}
