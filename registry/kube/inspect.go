package kube

import (
	"context"

	"github.com/weirmesh/weir/registry"
)

// Summary is one application in a list.
type Summary struct {
	App  registry.App  `json:"app"`
	Mode registry.Mode `json:"mode"`
	// Instances counts all, Callable those to which new calls go, Registered
	// those that have published metadata, Problems those that cannot be called
	// for a reason somebody can mend.
	Instances  int `json:"instances"`
	Callable   int `json:"callable"`
	Registered int `json:"registered"`
	Problems   int `json:"problems"`
	// Service reports whether the application has a Service.
	Service bool `json:"service"`
}

// Summarize counts the instances of a snapshot.
func Summarize(s registry.Snapshot) Summary {
	sum := Summary{App: s.App, Mode: s.Mode, Instances: len(s.Instances), Service: s.Service.Host != ""}
	for i := range s.Instances {
		instance := &s.Instances[i]
		if instance.Callable() {
			sum.Callable++
		}
		if instance.Registered() {
			sum.Registered++
		}
		if instance.Problem != "" {
			sum.Problems++
		}
	}
	return sum
}

// Summaries lists the applications of a namespace, all covered namespaces when
// it is empty, with counts of their instances, sorted. Errors as for Apps.
func (h *Hub) Summaries(ctx context.Context, namespace string) ([]Summary, error) {
	apps, err := h.Apps(ctx, namespace)
	if err != nil {
		return nil, err
	}
	all := make([]Summary, 0, len(apps))
	for _, app := range apps {
		s, err := h.Snapshot(ctx, app)
		if err != nil {
			return nil, err
		}
		all = append(all, Summarize(s))
	}
	return all, nil
}
