package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/cmd/weir/internal/up"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/registry"
)

// registryConfig are the settings of the registry commands.
type registryConfig struct {
	Kubeconfig string
	Context    string
	DataDir    string
	Timeout    time.Duration
	Several    cluster.Several
	// Cluster is the one of them to look at alone; all when empty.
	Cluster string
	// Consumer is the application whose view is asked for; empty for that of all for
	// which no DiscoveryPolicy is in particular.
	Consumer string
}

func registryDefaults() *registryConfig {
	return &registryConfig{DataDir: up.DefaultDataDir, Timeout: 10 * time.Second}
}

func (c *registryConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Kubeconfig, "kubeconfig", c.Kubeconfig, "kubeconfig of the cluster to ask (default: $KUBECONFIG, then the cluster of a weir up here, then the pod's own, then ~/.kube/config)")
	fs.StringVar(&c.Context, "context", c.Context, "context of the kubeconfig (default: its current one)")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "data directory of the weir up whose cluster to ask")
	c.Several.Flags(fs)
	fs.StringVar(&c.Cluster, "cluster", c.Cluster, "look at this one alone of --cluster-name and --clusters, as it knows itself (default: all as one)")
	fs.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long to wait for the API server's first answer")
}

// asConsumer adds the flag of commands that show how an application is called.
func (c *registryConfig) asConsumer(fs *pflag.FlagSet) {
	fs.StringVar(&c.Consumer, "consumer", c.Consumer, "answer as for this consumer, NAMESPACE/NAME, whose own DiscoveryPolicies count then (default: for those that have none)")
}

func (c *registryConfig) validate() error {
	if c.Cluster != "" && len(c.Several.Others) == 0 {
		return fmt.Errorf("--cluster %s chooses one of several clusters: name them with --clusters", c.Cluster)
	}
	if c.Consumer != "" {
		if _, err := registry.ParseApp(c.Consumer, ""); err != nil {
			return fmt.Errorf("--consumer %q names no application: write it like shop/orders", c.Consumer)
		}
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout %s leaves no time for an answer: give a duration such as 10s", c.Timeout)
	}
	return nil
}

// output adds the -o flag.
func output(c *cobra.Command, formats ...string) *view.Format {
	f := view.Table
	config.Choice(c.Flags(), (*string)(&f), "output", "o", formats, "how to write the answer: "+strings.Join(formats, ", "))
	if err := c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added a line before
	}
	return &f
}

func (m *Main) registryCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "registry",
		Short: "Show which applications and instances are registered, and why not",
		Long: `Registry shows what consumers see: the applications of the cluster, their
instances, what each speaks and whether it is called. It only reads.

The cluster asked is the one of --kubeconfig, or of $KUBECONFIG, or of a weir up
with the same data directory, or the pod's own, or of ~/.kube/config.`,
		Example: `  weir registry list
  weir registry get shop/inventory
  weir registry watch shop/orders shop/inventory
  weir registry explain shop/inventory
  weir registry diff --zookeeper zk.example:2181 -n shop`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.registryList(), m.registryGet(), m.registryWatch(), m.registryExplain(), m.registryRevisions(), m.registryDiff(), m.registryUnbridge())
	return c
}

func (m *Main) registryList() *cobra.Command {
	cfg, fs := registrySettings()
	cfg.asConsumer(fs)
	var namespace string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the applications with the number of their callable instances",
		Long: `List shows every application, which is every Service, with how many of its
instances are called, what they speak, and why the others are held back.`,
		Example: `  weir registry list
  weir registry list -n shop
  weir registry list -o json`,
		Args: cobra.NoArgs,
	}
	addSettings(c, fs)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return m.withRegistry(c, cfg, fs, []string{namespace}, func(ctx context.Context, r *opened) error {
			return r.list(ctx, m.Stdout, namespace, *format)
		})
	}
	return c
}

func (m *Main) registryGet() *cobra.Command {
	cfg, fs := registrySettings()
	cfg.asConsumer(fs)
	var namespace string
	c := &cobra.Command{
		Use:   "get NAMESPACE/NAME",
		Short: "Show one application: its Service, its instances, their metadata and health",
		Long: `Get shows all that is known of one application: how it asks to be called, its
Service, and for each instance its address, what it speaks, its health, whether
it is called and if not why, and the metadata it registered.`,
		Example: `  weir registry get shop/inventory
  weir registry get inventory -n shop -o yaml
  weir registry get shop/inventory --consumer shop/orders
  weir registry get shop/inventory --context east --cluster-name east --clusters west`,
		Args: cobra.ExactArgs(1),
	}
	addSettings(c, fs)
	c.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of an application written without one")
	format := output(c, view.Formats...)
	c.ValidArgsFunction = m.completeApps(cfg, fs)
	c.RunE = func(c *cobra.Command, args []string) error {
		app, err := registry.ParseApp(args[0], namespace)
		if err != nil {
			return usage(err)
		}
		return m.withRegistry(c, cfg, fs, []string{app.Namespace}, func(ctx context.Context, r *opened) error {
			return r.get(ctx, m.Stdout, app, *format)
		})
	}
	return c
}

func (m *Main) registryWatch() *cobra.Command {
	cfg, fs := registrySettings()
	cfg.asConsumer(fs)
	var namespace string
	c := &cobra.Command{
		Use:   "watch [NAMESPACE/NAME …]",
		Short: "Show changes as they happen, until Ctrl-C",
		Long: `Watch shows the state of the named applications, or of all, and then each
change: instances that join, leave, become ready or are held back, and why. When
the API server is away, watch says so, keeps the last state known, and goes on
when it is back.`,
		Example: `  weir registry watch
  weir registry watch shop/inventory
  weir registry watch -n shop -o json`,
	}
	addSettings(c, fs)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace, and that of applications written without one (default: all)")
	format := output(c, string(view.Table), string(view.JSON))
	c.ValidArgsFunction = m.completeApps(cfg, fs)
	c.RunE = func(c *cobra.Command, args []string) error {
		var apps []registry.App
		for _, arg := range args {
			ns := namespace
			if ns == "" {
				ns = "default"
			}
			app, err := registry.ParseApp(arg, ns)
			if err != nil {
				return usage(err)
			}
			apps = append(apps, app)
		}
		namespaces := []string{namespace}
		if len(apps) > 0 {
			namespaces = nil
			for _, app := range apps {
				namespaces = append(namespaces, app.Namespace)
			}
		}
		return m.withRegistry(c, cfg, fs, namespaces, func(ctx context.Context, r *opened) error {
			return r.watch(ctx, m.Stdout, namespace, apps, *format)
		})
	}
	return c
}

func (m *Main) registryRevisions() *cobra.Command {
	cfg, fs := registrySettings()
	var namespace string
	var unused bool
	grace := role.DefaultRevisionGrace
	c := &cobra.Command{
		Use:   "revisions",
		Short: "List the stored metadata of revisions, who runs them, and what is deleted when",
		Long: `Revisions shows every AppMetadata: the revision of an application that it
describes, how many pods say that they run it, and, where none does, since when
and when a control plane deletes it. It deletes nothing itself: it is the dry run
of weir control --revision-grace.

"Since when" is what a control plane wrote into the object; while none that may
has seen it unused, nothing is deleted.`,
		Example: `  weir registry revisions
  weir registry revisions -n shop --unused
  weir registry revisions --grace 72h -o json`,
		Args: cobra.NoArgs,
	}
	addSettings(c, fs)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace (default: all)")
	c.Flags().BoolVar(&unused, "unused", false, "only those that no pod runs")
	c.Flags().DurationVar(&grace, "grace", grace, "the control plane's --revision-grace; 0 where it deletes nothing")
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if grace < 0 {
			return usage(fmt.Errorf("--grace %s is negative: give the control plane's --revision-grace, or 0", grace))
		}
		return m.withRegistry(c, cfg, fs, []string{namespace}, func(ctx context.Context, r *opened) error {
			return r.revisions(ctx, m.Stdout, revisionQuery{namespace: namespace, unused: unused, grace: grace}, *format)
		})
	}
	return c
}

func registrySettings() (*registryConfig, *pflag.FlagSet) {
	cfg := registryDefaults()
	fs := pflag.NewFlagSet("registry", pflag.ContinueOnError)
	cfg.flags(fs)
	return cfg, fs
}
