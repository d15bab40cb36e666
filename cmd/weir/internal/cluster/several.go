package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/registry/clusters"
	"github.com/weirmesh/weir/registry/kube"
)

// Several are the settings that name clusters besides the first.
type Several struct {
	Name   string   // of the first
	Others []string // NAME, NAME=CONTEXT, NAME=KUBECONFIG, NAME=KUBECONFIG:CONTEXT

	hubs map[string]*kube.Hub // that Open opened, and the one that it was given
}

// Hub returns the hub of a cluster after Open, for what a registry of several does not
// tell; nil where there is none of that name, as where there is a single one.
func (s *Several) Hub(name string) *kube.Hub { return s.hubs[name] }

// DefaultName is what the first cluster is called where nothing else is said.
const DefaultName = "home"

// Flags binds the settings to flags.
func (s *Several) Flags(fs *pflag.FlagSet) {
	if s.Name == "" {
		s.Name = DefaultName
	}
	fs.StringVar(&s.Name, "cluster-name", s.Name, "what the cluster is called beside those of --clusters")
	fs.StringSliceVar(&s.Others, "clusters", s.Others, "clusters that are looked at too, in the order in which they stand in for the first, as NAME=CONTEXT, or NAME=KUBECONFIG:CONTEXT for another file (a path that begins with / or ./; without :CONTEXT its current one)")
}

// Validate reports what Open would refuse without having looked at files.
func (s *Several) Validate(kubeconfig string) error {
	if len(s.Others) > 0 && s.Name == "" {
		return errors.New("--cluster-name is empty: name the first of several clusters")
	}
	_, err := s.others(kubeconfig)
	return err
}

type other struct{ name, kubeconfig, context string }

func (s *Several) others(kubeconfig string) ([]other, error) {
	var out []other
	for _, text := range s.Others {
		name, at, named := strings.Cut(text, "=")
		o := other{name: name, kubeconfig: kubeconfig, context: at}
		if !named {
			o.context = name
		} else if file, context, ok := fileOf(at); ok {
			o.kubeconfig, o.context = file, context
			if file == "" {
				o.name = ""
			}
		}
		if o.name == "" || o.context == "" && (o.kubeconfig == kubeconfig || strings.HasSuffix(at, ":")) {
			return nil, fmt.Errorf("--clusters %q names no cluster: write it like west=CONTEXT, or west=KUBECONFIG:CONTEXT", text)
		}
		if o.kubeconfig == "" {
			return nil, fmt.Errorf("--clusters %q names a context and no file: give --kubeconfig, or write it like %s=KUBECONFIG:%s", text, o.name, o.context)
		}
		out = append(out, o)
	}
	return out, nil
}

// fileOf takes the name of a file off that of a context. Contexts may have colons and
// slashes themselves, as those of EKS ("arn:aws:eks:…:cluster/prod") and of OpenShift
// have: what is neither a path from the root or from here, nor a file that is there,
// is a part of the context's name.
func fileOf(text string) (file, context string, ok bool) {
	file, context, _ = strings.Cut(text, ":")
	if filepath.IsAbs(file) || strings.HasPrefix(file, "./") || strings.HasPrefix(file, "../") {
		return file, context, true
	}
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
		return file, context, true
	}
	return "", "", false
}

// config is what a hub of the cluster is opened by.
func (o other) config() (kube.Config, error) {
	files := filepath.SplitList(o.kubeconfig)
	if len(files) == 1 {
		// A file by name lets the hub name it when it cannot be used.
		return kube.Config{Kubeconfig: o.kubeconfig, Context: o.context}, nil
	}
	target, err := load(files, o.context, o.kubeconfig)
	if err != nil {
		return kube.Config{}, err
	}
	return kube.Config{REST: target.REST}, nil
}

// Measure returns what takes the metrics of the first cluster's hub: they name their
// cluster where there are others.
func (s *Several) Measure(r prometheus.Registerer) prometheus.Registerer { return s.of(s.Name, r) }

func (s *Several) of(name string, r prometheus.Registerer) prometheus.Registerer {
	if len(s.Others) == 0 {
		return r
	}
	return clusters.Measure(r, name)
}

// Open opens the registry of a cluster that is open already, and the others. base is
// what their hubs have in common; it holds the registerer that Measure was given.
// stop ends all but the first.
func (s *Several) Open(ctx context.Context, home *kube.Hub, base kube.Config, kubeconfig string, cfg clusters.Config) (r *clusters.Registry, stop func(), err error) {
	others, err := s.others(kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	var hubs []*kube.Hub
	stop = func() {
		if r != nil {
			r.Close()
		}
		for _, h := range hubs {
			h.Close()
		}
	}
	name := s.Name
	if len(others) == 0 {
		name, cfg.ProbeEvery = "", -1 // there is nothing to tell apart, and nowhere to go
	}
	s.hubs = map[string]*kube.Hub{name: home}
	cfg.Metrics = base.Metrics
	cfg.Members = []clusters.Member{{Name: name, Discoverer: home, Mapping: home, Metadata: home}}
	for n, o := range others {
		hc, err := o.config()
		var hub *kube.Hub
		if err == nil {
			hc.Namespaces, hc.Identity = base.Namespaces, kube.Identity{Namespace: home.Identity().Namespace}
			hc.App, hc.UserAgent = base.App, base.UserAgent
			hc.Metrics, hc.SnapshotDir = s.of(o.name, base.Metrics), clusters.SnapshotDir(base.SnapshotDir, o.name)
			if base.Logger != nil {
				hc.Logger = base.Logger.With("cluster", o.name)
			}
			hub, err = kube.Open(ctx, hc)
		}
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("cluster %s: %w", o.name, err)
		}
		hubs = append(hubs, hub)
		s.hubs[o.name] = hub
		cfg.Members = append(cfg.Members, clusters.Member{Name: o.name, Discoverer: hub, Mapping: hub, Metadata: hub, Priority: n + 1})
	}
	if r, err = clusters.New(cfg); err != nil {
		stop()
		return nil, nil, err
	}
	return r, stop, nil
}
