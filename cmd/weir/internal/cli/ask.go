package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/kube"
)

// opened is a registry to ask.
type opened struct {
	registry.Discoverer
	documents registry.MetadataStore
	hub       func(cluster string) *kube.Hub
	target    string
	timeout   time.Duration
	clusters  []string // their names, where there are several
	cluster   string   // the one that is looked at alone; empty for all
	home      *kube.Hub
	consumer  string // for whom is asked; empty for nobody in particular
}

// within is an application as it is asked for: in one cluster alone where that is
// wanted.
func (r *opened) within(app registry.App) registry.App {
	app.Cluster = r.cluster
	return app
}

// withRegistry loads the settings, opens the registry for the namespaces (an
// empty one stands for all), and hands it to ask.
func (m *Main) withRegistry(c *cobra.Command, cfg *registryConfig, fs *pflag.FlagSet, namespaces []string, ask func(context.Context, *opened) error) error {
	if _, err := m.load(c, fs); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return usage(err)
	}
	target, err := cluster.Find(cluster.Query{Kubeconfig: cfg.Kubeconfig, Context: cfg.Context, DataDir: cfg.DataDir, Env: m.Env})
	if err != nil {
		return coded(ExitLacking, err)
	}
	base := hubConfig(target, namespaces)
	if cfg.Consumer != "" {
		consumer, _ := registry.ParseApp(cfg.Consumer, "") // validate has looked at it
		base.App, base.Identity.Namespace = consumer.Name, consumer.Namespace
	}
	hub, err := kube.Open(c.Context(), base)
	if err != nil {
		return coded(ExitLacking, err)
	}
	defer hub.Close()
	r, closing, err := cfg.Several.Open(c.Context(), hub, base, strings.Join(target.Kubeconfig, string(filepath.ListSeparator)), clusters.Config{ProbeEvery: -1})
	if err != nil {
		return coded(ExitLacking, err)
	}
	defer closing()
	if names := r.Clusters(); cfg.Cluster != "" && !slices.Contains(names, cfg.Cluster) {
		return usage(fmt.Errorf("--cluster %s is none of the clusters: name one of %s", cfg.Cluster, strings.Join(names, ", ")))
	}
	return ask(c.Context(), &opened{
		Discoverer: r, documents: r, hub: cfg.Several.Hub, target: target.String(), timeout: cfg.Timeout, clusters: r.Clusters(), cluster: cfg.Cluster,
		home: hub, consumer: cfg.Consumer,
	})
}

// hubConfig is that of a hub that only reads, on behalf of a person.
func hubConfig(t *cluster.Target, namespaces []string) kube.Config {
	cfg := kube.Config{UserAgent: "weir"}
	switch len(t.Kubeconfig) {
	case 1:
		// A file by name lets the hub name it when it cannot be used.
		cfg.Kubeconfig, cfg.Context = t.Kubeconfig[0], t.Context
	default:
		cfg.REST = t.REST
	}
	for _, ns := range namespaces {
		if ns == "" {
			ns = kube.AllNamespaces
		}
		cfg.Namespaces = append(cfg.Namespaces, ns)
	}
	return cfg
}

// first bounds the wait for a first answer.
func (r *opened) first(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("no answer within %s; --timeout gives more", r.timeout))
}

// explain tells an end that was asked for from a failure.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *opened) list(ctx context.Context, w io.Writer, namespace string, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	apps, err := r.Apps(first, namespace)
	if err != nil {
		return explain(ctx, err)
	}
	snapshots := make([]registry.Snapshot, 0, len(apps))
	for _, app := range apps {
		s, err := r.Snapshot(first, r.within(app))
		if err != nil {
			return explain(ctx, err)
		}
		if r.cluster == "" || s.Known() {
			snapshots = append(snapshots, s)
		}
	}
	if format != view.Table {
		return view.Encode(w, format, snapshots)
	}
	if len(snapshots) == 0 {
		where := "any namespace"
		if namespace != "" {
			where = "namespace " + namespace
		}
		_, err := fmt.Fprintf(w, "no applications in %s of %s\n", where, r.target)
		return err
	}
	header, rows := view.AppTable(snapshots, r.clusters)
	return view.WriteTable(w, header, rows)
}

func (r *opened) get(ctx context.Context, w io.Writer, app registry.App, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	s, err := r.Snapshot(first, r.within(app))
	if err != nil {
		return explain(ctx, err)
	}
	if !s.Known() {
		return fmt.Errorf("there is no application %s in %s: `weir registry list` shows those there are", app, r.target)
	}
	if format != view.Table {
		return view.Encode(w, format, s)
	}
	if err := view.WriteSnapshot(w, s); err != nil || r.consumer != "" {
		return err
	}
	return r.others(w, app)
}

// others names the consumers that call an application in another way than was shown.
func (r *opened) others(w io.Writer, app registry.App) error {
	policies := r.home.ConsumerPolicies(app)
	if len(policies) == 0 {
		return nil
	}
	lines := make([]string, len(policies))
	for n, p := range policies {
		lines[n] = fmt.Sprintf("  %s by DiscoveryPolicy %s", p.Consumer, p.Name)
	}
	_, err := fmt.Fprintf(w, "\nConsumers with a policy of their own, as --consumer shows it:\n%s\n", strings.Join(lines, "\n"))
	return err
}

// instance says why an instance is called or not. One that is not there is an
// error, after it was said why.
func (r *opened) instance(ctx context.Context, w io.Writer, app registry.App, name string, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	s, err := r.Snapshot(first, r.within(app))
	if err != nil {
		return explain(ctx, err)
	}
	i := s.Find(name)
	answer := view.Explanation{App: app, Instance: name}
	if i == nil {
		answer.Explain = s.ExplainMissing(name)
	} else {
		answer = r.explanation(first, &s, i)
	}
	if format != view.Table {
		err = view.Encode(w, format, answer)
	} else {
		err = view.WriteExplanation(w, answer)
	}
	if err == nil && i == nil {
		err = fmt.Errorf("%s has no instance %s in %s: `weir registry get %s` shows those it has", app, name, r.target, app)
	}
	return err
}

func (r *opened) explanation(ctx context.Context, s *registry.Snapshot, i *registry.Instance) view.Explanation {
	document := registry.ReadDocument(ctx, r.documents, s.App, i.Revision)
	return view.Explanation{App: s.App, Instance: i.Name, ID: i.ID, Callable: i.Callable(), Why: i.Why(), Explain: s.Explain(i, &document)}
}

// instances explains every instance of an application.
func (r *opened) instances(ctx context.Context, w io.Writer, app registry.App, format view.Format) error {
	first, cancel := r.first(ctx)
	defer cancel()
	s, err := r.Snapshot(first, r.within(app))
	if err != nil {
		return explain(ctx, err)
	}
	all := make([]view.Explanation, 0, len(s.Instances))
	for i := range s.Instances {
		all = append(all, r.explanation(first, &s, &s.Instances[i]))
	}
	slices.SortFunc(all, func(x, y view.Explanation) int {
		return cmp.Or(strings.Compare(x.Instance, y.Instance), strings.Compare(x.ID, y.ID))
	})
	if format != view.Table {
		return view.Encode(w, format, all)
	}
	for i, answer := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := view.WriteExplanation(w, answer); err != nil {
			return err
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("%s has no instance in %s: `weir registry get %s` shows its Service", app, r.target, app)
	}
	return nil
}

// look is how often watch looks for new applications and for a lost link, which
// no subscription reports.
const look = time.Second

// watch writes the state of the applications and every change until ctx ends.
func (r *opened) watch(ctx context.Context, w io.Writer, namespace string, apps []registry.App, format view.Format) error {
	all := len(apps) == 0
	if all {
		first, cancel := r.first(ctx)
		defer cancel()
		var err error
		if apps, err = r.Apps(first, namespace); err != nil {
			return explain(ctx, err)
		}
	} else {
		// A named application is waited for as a list is, so that a cluster that
		// is away or refuses is an error and not an endless silence.
		first, cancel := r.first(ctx)
		defer cancel()
		for _, app := range apps {
			if _, err := r.Snapshot(first, r.within(app)); err != nil {
				return explain(ctx, err)
			}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &printer{w: w, format: format, seen: make(map[registry.App]*registry.Snapshot), fail: cancel}
	var stops []func()
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	followed := make(map[registry.App]bool)
	follow := func(apps []registry.App) error {
		for _, app := range apps {
			if app = r.within(app); followed[app] {
				continue
			}
			followed[app] = true
			stop, err := r.Subscribe(app, p.show)
			if err != nil {
				return err
			}
			stops = append(stops, stop)
		}
		return nil
	}
	if err := follow(apps); err != nil {
		return err
	}
	if len(apps) == 0 {
		fmt.Fprintf(w, "no applications yet in %s; waiting\n", r.target)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if all {
			now, err := r.Apps(ctx, namespace)
			if err != nil {
				return explain(ctx, err)
			}
			if err := follow(now); err != nil {
				return err
			}
		}
		for app := range followed {
			if s, err := r.Snapshot(ctx, app); err == nil {
				p.show(s)
			}
		}
	}
}

// printer writes changes as they come, from any goroutine.
type printer struct {
	w      io.Writer
	format view.Format
	fail   context.CancelCauseFunc

	mu   sync.Mutex
	seen map[registry.App]*registry.Snapshot
}

func (p *printer) show(s registry.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.seen[s.App]
	if old != nil && s.Generation < old.Generation {
		return // overtaken by a look
	}
	p.seen[s.App] = &s
	for _, change := range view.Changes(old, s) {
		var err error
		if p.format == view.JSON {
			err = json.NewEncoder(p.w).Encode(change)
		} else {
			_, err = fmt.Fprintln(p.w, change.Line())
		}
		if err != nil {
			p.fail(fmt.Errorf("write: %w", err))
		}
	}
}

// completeApps completes the names of applications in the shell.
func (m *Main) completeApps(cfg *registryConfig, fs *pflag.FlagSet) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []cobra.Completion
		cfg.Timeout = min(cfg.Timeout, 2*time.Second) // nobody waits longer for a Tab
		err := m.withRegistry(c, cfg, fs, []string{""}, func(ctx context.Context, r *opened) error {
			first, cancel := r.first(ctx)
			defer cancel()
			apps, err := r.Apps(first, "")
			for _, app := range apps {
				names = append(names, app.String())
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
