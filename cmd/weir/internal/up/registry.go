package up

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/cmd/weir/internal/role"
	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/deploy"
	"github.com/weirmesh/weir/internal/run"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// registrar is Weir's own stake in the cluster: its definitions, roles and
// policies, and the hub that follows the applications.
type registrar struct {
	up         *Up
	kubernetes *kubernetes
	late       *role.Late // told once the cluster is known, with all others that are named
	home       *role.Late // told of the cluster alone
	check      *run.Check
	hub        *kube.Hub
	closing    func()      // ends what the other clusters take
	open       atomic.Bool // hub may be asked
}

func (r *registrar) part() run.Part {
	r.check = r.up.health.Check(partRegistry, "starting")
	return run.Part{Name: partRegistry, Needs: []string{partKubernetes}, Start: r.start, Watch: r.watch, Stop: r.stop}
}

func (r *registrar) start(ctx context.Context) error {
	client := r.kubernetes.client
	if err := r.install(ctx, client); err != nil {
		return err
	}
	r.up.board.detail(partRegistry, "reading the cluster")
	target := client.Target()
	several := &r.up.Config.Several
	base := kube.Config{Namespaces: r.up.Config.Namespaces, Logger: r.up.log.With("part", partRegistry), Metrics: r.up.metrics}
	cfg := base
	cfg.REST, cfg.Metrics = target.REST, several.Measure(base.Metrics)
	if len(target.Kubeconfig) == 1 {
		// A file by name lets the hub name it when it cannot be used.
		cfg.REST, cfg.Kubeconfig, cfg.Context = nil, target.Kubeconfig[0], target.Context
	}
	hub, err := kube.Open(ctx, cfg)
	if err != nil {
		return err
	}
	r.hub = hub
	r.open.Store(true)
	if err := hub.WaitSynced(ctx); err != nil {
		if !r.up.own() && r.up.Config.allNamespaces() && registry.CodeOf(err) == registry.Forbidden {
			return fmt.Errorf("%w; --namespaces names them", err)
		}
		return err
	}
	reviewer, err := cluster.NewReviewer(target)
	if err != nil {
		return err
	}
	wide, closing, err := role.Wide(ctx, several, hub, base, r.up.Config.Kubeconfig)
	if err != nil {
		return err
	}
	r.closing = closing
	r.home.Set(hub, reviewer)
	r.late.Set(wide, reviewer)
	r.check.OK()
	r.up.ready(partRegistry, r.describe(ctx))
	return nil
}

func (r *registrar) describe(ctx context.Context) string {
	apps, err := r.hub.Apps(ctx, "")
	if err != nil {
		return ""
	}
	services := view.Plural(len(apps), "Service", "Services")
	if r.up.Config.allNamespaces() {
		return services + " in the cluster"
	}
	return services + " in " + strings.Join(r.up.Config.Namespaces, ", ")
}

// install brings Weir's objects into our own cluster, or into the user's if
// they said so, or else makes sure that they are there.
func (r *registrar) install(ctx context.Context, client *cluster.Client) error {
	if r.up.own() || r.up.Config.Install {
		r.up.set(partRegistry, "starting", "installing definitions, roles and admission policies")
		objects, err := ownObjects()
		if err != nil {
			return err
		}
		return client.Apply(ctx, objects)
	}
	missing, err := unserved(ctx, client)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	target := client.Target()
	kubectl := "kubectl"
	if len(target.Kubeconfig) == 1 {
		kubectl += " --kubeconfig " + target.Kubeconfig[0]
	}
	if target.Context != "" {
		kubectl += " --context " + target.Context
	}
	return fmt.Errorf("%s does not know %s: let an administrator run `weir manifests | %s apply --server-side -f -`, or have weir up write them with --install",
		target, strings.Join(missing, ", "), kubectl)
}

// unserved returns which of Weir's own resources the cluster does not know.
func unserved(ctx context.Context, client *cluster.Client) ([]string, error) {
	objects, err := ownObjects()
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		resources, err := cluster.Defined(o)
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			served, err := client.Serves(ctx, r)
			if err != nil {
				return nil, err
			}
			if !served {
				missing = append(missing, o.GetName())
			}
		}
	}
	return missing, nil
}

// ownObjects are the objects of package deploy.
func ownObjects() ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, m := range deploy.Manifests() {
		objects, err := cluster.Decode(m.File, m.YAML)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// watch follows whether the hub is in touch with the API server.
func (r *registrar) watch(ctx context.Context) error {
	stale := false
	return follow(ctx, func(ctx context.Context) {
		since, err := r.staleSince(ctx)
		switch {
		case err != nil:
		case !since.IsZero():
			stale = true
			r.check.Fail("the API server does not answer since " + since.Local().Format(time.TimeOnly))
			r.up.set(partRegistry, "stale", "the API server does not answer since "+since.Local().Format(time.TimeOnly)+"; the last state known stands")
		case stale:
			stale = false
			r.check.OK()
			r.up.set(partRegistry, "ready", "in touch with the API server again; "+r.describe(ctx))
		}
	})
}

// staleSince asks the hub about any application, since all share its watches.
func (r *registrar) staleSince(ctx context.Context) (time.Time, error) {
	apps, err := r.hub.Apps(ctx, "")
	if err != nil || len(apps) == 0 {
		return time.Time{}, err
	}
	s, err := r.hub.Snapshot(ctx, apps[0])
	return s.StaleSince, err
}

func (r *registrar) stop(context.Context) error {
	r.check.Fail("stopping")
	if r.closing != nil {
		r.closing()
	}
	if r.open.Swap(false) {
		r.hub.Close()
	}
	return nil
}

// callable is how many instances of an application are called, of how many.
func (r *registrar) callable(ctx context.Context, app registry.App) (called, all int, err error) {
	if !r.open.Load() {
		return 0, 0, errors.New("the registry is not open")
	}
	s, err := r.hub.Snapshot(ctx, app)
	if err != nil {
		return 0, 0, err
	}
	return len(s.Callable()), len(s.Instances), nil
}
