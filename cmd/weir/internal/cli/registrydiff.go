package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/internal/config"
	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/zookeeper"
)

// diffConfig are the settings of `weir registry diff` beside those of all registry
// commands.
type diffConfig struct {
	*registryConfig
	ZooKeeper zookeeper.Config
	Wait      time.Duration
	Addresses bool // are enough
}

// Flags that say where Dubbo's nodes are in ZooKeeper.
const (
	zookeeperFlag             = "zookeeper"
	zookeeperAuthFlag         = "zookeeper-auth"
	zookeeperInterfacesFlag   = "zookeeper-interfaces"
	zookeeperApplicationsFlag = "zookeeper-applications"
)

func diffDefaults() *diffConfig {
	return &diffConfig{registryConfig: registryDefaults(), ZooKeeper: zookeeper.Config{
		Interfaces: zookeeper.DefaultInterfaces, Applications: zookeeper.DefaultApplications,
	}}
}

func (c *diffConfig) flags(fs *pflag.FlagSet) {
	c.registryConfig.flags(fs)
	fs.StringVar(&c.ZooKeeper.Servers, zookeeperFlag, c.ZooKeeper.Servers, "ZooKeeper to compare with, host:2181, several with commas between (required)")
	fs.StringVar(&c.ZooKeeper.Auth, zookeeperAuthFlag, c.ZooKeeper.Auth, "user:password for ZooKeeper's scheme digest, where its nodes are not for everybody")
	config.Secret(fs, zookeeperAuthFlag)
	fs.StringVar(&c.ZooKeeper.Interfaces, zookeeperInterfacesFlag, c.ZooKeeper.Interfaces, "node below which Dubbo keeps providers by interface: the group of its registry")
	fs.StringVar(&c.ZooKeeper.Applications, zookeeperApplicationsFlag, c.ZooKeeper.Applications, "node below which Dubbo keeps instances by application")
	fs.BoolVar(&c.Addresses, "addresses", c.Addresses, "take equal addresses for enough where it is not known which interfaces are offered there (verdict unproven), as of providers in Java")
	fs.DurationVar(&c.Wait, "wait", c.Wait, "compare again for this long, until every application is ready; 0 for once")
}

func (c *diffConfig) validate() error {
	if err := c.registryConfig.validate(); err != nil {
		return err
	}
	if c.ZooKeeper.Servers == "" {
		return errors.New("no ZooKeeper is named: give --zookeeper host:2181")
	}
	if c.Wait < 0 {
		return fmt.Errorf("--wait %s is less than nothing: give a duration such as 5m", c.Wait)
	}
	return c.ZooKeeper.Validate()
}

func (m *Main) registryDiff() *cobra.Command {
	cfg := diffDefaults()
	fs := pflag.NewFlagSet("registry diff", pflag.ContinueOnError)
	cfg.flags(fs)
	var namespace string
	c := &cobra.Command{
		Use:   "diff [NAMESPACE/NAME …]",
		Short: "Compare what ZooKeeper and Kubernetes hold of applications that move",
		Long: `Diff sets what Dubbo keeps in ZooKeeper of the named applications, or of all,
against what Kubernetes has of them, and says of each whether its consumers can go
over: ready when all that ZooKeeper has can be called by Kubernetes too, with the
same ports, protocols, groups, versions, weights, paths, serializations and tags;
an instance that stands by for nearer ones counts as called; unproven when the addresses are
the same, and one of the two does not tell which interfaces are offered there, as
Kubernetes does not of providers in Java. Overrides and rules for routing that are
kept in ZooKeeper, beside the interfaces or in Dubbo's configuration centre there,
are listed: who calls by Kubernetes does not know of them, and whether something
else stands in for them is yours to say; they change no verdict.

It reads both ways in which Dubbo keeps providers there, by application and by
interface, as Dubbo Java and dubbo-go write them. Consumers that still look in
ZooKeeper are named as far as they say so there, which those that look by
application do not. ZooKeeper knows no namespaces: an application is that of the
same name in the namespace of -n, or the only one of its name in the cluster.

It exits with 4 where an application is not ready; --addresses lets unproven pass.`,
		Example: `  weir registry diff --zookeeper zk.example:2181 -n shop
  weir registry diff --zookeeper zk.example:2181 shop/inventory --wait 5m
  weir registry diff --zookeeper zk.example:2181 -n shop -o json`,
	}
	addSettings(c, fs)
	c.Flags().StringVarP(&namespace, "namespace", "n", "", "only this namespace, and that of applications written without one (default: all)")
	format := output(c, view.Formats...)
	c.ValidArgsFunction = m.completeApps(cfg.registryConfig, fs)
	c.RunE = func(c *cobra.Command, args []string) error {
		// Before the cluster is looked for.
		if _, err := m.load(c, fs); err != nil {
			return err
		}
		if err := cfg.validate(); err != nil {
			return usage(err)
		}
		for _, arg := range args {
			if _, err := registry.ParseApp(arg, cmp.Or(namespace, "any")); err != nil {
				return usage(err)
			}
		}
		return m.withRegistry(c, cfg.registryConfig, fs, []string{namespace}, func(ctx context.Context, r *opened) error {
			return r.diff(ctx, m.Stdout, m.Stderr, cfg, namespace, args, *format)
		})
	}
	return c
}

// diffAgain is between two comparisons of --wait.
const diffAgain = time.Second

// diff compares until all is ready, for cfg.Wait at most, and writes the last
// comparison.
func (r *opened) diff(ctx context.Context, w, errs io.Writer, cfg *diffConfig, namespace string, args []string, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	client, err := zookeeper.Dial(first, cfg.ZooKeeper)
	if err != nil {
		if ctx.Err() == nil && registry.CodeOf(err) != registry.Internal {
			return coded(ExitLacking, err)
		}
		return explain(ctx, err)
	}
	defer client.Close()
	until := time.Now().Add(cfg.Wait)
	for {
		differences, ambiguous, notes, err := r.compare(ctx, client, namespace, args)
		if err != nil {
			if registry.CodeOf(err) == registry.Unavailable && time.Now().Before(until) && pause.For(ctx, diffAgain) {
				continue
			}
			if registry.CodeOf(err) == registry.NotFound {
				return coded(ExitLacking, err)
			}
			return explain(ctx, err)
		}
		waiting := 0
		for _, d := range differences {
			if enough := cfg.Addresses && d.Verdict == zookeeper.Unproven; !d.Verdict.Good() && !enough {
				waiting++
			}
		}
		if waiting > 0 && time.Now().Before(until) && pause.For(ctx, diffAgain) {
			continue
		}
		if err := r.tell(w, client, differences, format); err != nil {
			return err
		}
		for _, note := range notes {
			if _, err := fmt.Fprintln(errs, note); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case waiting > 0:
			return coded(ExitDiffers, fmt.Errorf("%d of %s cannot leave ZooKeeper yet", waiting, view.Plural(len(differences), "application", "applications")))
		case len(ambiguous) > 0:
			return coded(ExitDiffers, fmt.Errorf("whose in ZooKeeper %s is was not decided: choose a namespace with -n", strings.Join(ambiguous, ", ")))
		}
		return nil
	}
}

func (r *opened) tell(w io.Writer, client *zookeeper.Client, differences []zookeeper.Difference, format view.Format) error {
	if format != view.Table {
		return view.Encode(w, format, differences)
	}
	if len(differences) == 0 {
		_, err := fmt.Fprintf(w, "neither ZooKeeper at %s nor %s has an application of Dubbo's here\n", client.Servers(), r.target)
		return err
	}
	return view.WriteDifferences(w, differences)
}

// compare reads both registries once. Ambiguous are names in ZooKeeper that several
// applications have. Notes are of what is in ZooKeeper and cannot be set against
// anything.
func (r *opened) compare(ctx context.Context, client *zookeeper.Client, namespace string, args []string) (out []zookeeper.Difference, ambiguous, notes []string, err error) {
	ctx, cancel := r.first(ctx)
	defer cancel()
	state, err := client.Read(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	known, err := r.Apps(ctx, namespace)
	if err != nil {
		return nil, nil, nil, err
	}
	apps, elsewhere, ambiguous, err := chosen(args, namespace, known, state)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, name := range ambiguous {
		notes = append(notes, "ZooKeeper knows no namespaces, and "+name+" is in several, so it was left out: choose one with -n")
	}
	if len(elsewhere) > 0 {
		notes = append(notes, "in ZooKeeper, and not in namespace "+namespace+": "+strings.Join(elsewhere, ", "))
	}
	for _, u := range state.Unread {
		notes = append(notes, "not read in ZooKeeper, and left out: "+u.Node+": "+u.Reason)
	}
	for _, rule := range state.Rules {
		notes = append(notes, "a rule in ZooKeeper for none of its applications: "+cmp.Or(rule.Interface, rule.App)+" "+rule.Kind+": "+rule.Says)
	}
	for _, app := range apps {
		k, err := r.known(ctx, app)
		if err != nil {
			return nil, nil, nil, err
		}
		z := state.Apps[app.Name]
		if z == nil && len(args) == 0 && !slices.ContainsFunc(k.Snapshot.Instances, func(i registry.Instance) bool { return len(i.Endpoints) > 0 }) {
			continue // nothing of Dubbo's
		}
		out = append(out, zookeeper.Compare(app, z, state.Unread, k))
	}
	return out, ambiguous, notes, nil
}

// chosen returns which applications are compared: the named ones, or those that
// either registry has; the names that ZooKeeper has and a namespace that was chosen has
// not: ZooKeeper knows no namespaces, so they may be another's; and those that several
// namespaces have.
func chosen(args []string, namespace string, known []registry.App, state zookeeper.State) (out []registry.App, elsewhere, ambiguous []string, err error) {
	names := args
	if len(args) == 0 {
		names = slices.Sorted(maps.Keys(state.Apps))
	}
	for _, name := range names {
		ns, bare, qualified := strings.Cut(name, "/")
		if !qualified {
			ns, bare = namespace, name
		}
		var at []registry.App
		for _, app := range known {
			if app.Name == bare && (ns == "" || app.Namespace == ns) {
				at = append(at, app)
			}
		}
		switch {
		case len(at) == 1:
			out = append(out, at[0])
		case len(at) > 1 && len(args) == 0:
			ambiguous = append(ambiguous, bare)
		case len(at) > 1:
			return nil, nil, nil, usage(fmt.Errorf("ZooKeeper knows no namespaces, and %s is in %d of them: choose one with -n", bare, len(at)))
		case len(args) == 0 && namespace != "":
			elsewhere = append(elsewhere, bare)
		default:
			out = append(out, registry.App{Namespace: ns, Name: bare})
		}
	}
	if len(args) == 0 {
		out = append(out, known...)
	}
	out = slices.DeleteFunc(out, func(app registry.App) bool { return slices.Contains(ambiguous, app.Name) })
	slices.SortFunc(out, registry.App.Compare)
	return slices.Compact(out), elsewhere, ambiguous, nil
}

// known reads what Kubernetes knows of an application, and what its instances offer.
func (r *opened) known(ctx context.Context, app registry.App) (zookeeper.Known, error) {
	k := zookeeper.Known{Snapshot: registry.Snapshot{App: app}, Documents: map[string]registry.Document{}}
	if registry.CodeOf(app.Validate()) == registry.Invalid {
		return k, nil // no namespace, or a name that no Service can have: Kubernetes has nothing of it
	}
	s, err := r.Snapshot(ctx, r.within(app))
	if err != nil {
		return zookeeper.Known{}, err
	}
	k.Snapshot = s
	for i := range s.Instances {
		revision := s.Instances[i].Revision
		if _, read := k.Documents[revision]; !read && revision != "" {
			k.Documents[revision] = registry.ReadDocument(ctx, r.documents, r.within(app), revision)
		}
	}
	return k, nil
}
