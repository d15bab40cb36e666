package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Summary is one application in a list: how many of its instances are called,
// what they speak, and why the others are held back.
type Summary struct {
	App     App
	Mode    Mode
	Service Service
	// Instances counts all, Callable those to which new calls go, Registered
	// those that have published metadata, Problems those that cannot be called
	// for a reason somebody can mend, and Warnings those that have one.
	Instances, Callable, Registered, Problems, Warnings int
	// Kept counts the callable ones that are not ready: their loss is doubted.
	Kept int
	// Endpoints are those of all instances, each once, sorted as they are written.
	Endpoints []Endpoint
	// Standby counts those that are as good, and not called since nearer ones are.
	Standby int
	// Clusters counts the instances of each cluster, sorted by name; none where
	// instances name no cluster.
	Clusters []ClusterCount
	// Held are the reasons why instances are not called, other than that nearer ones
	// are, sorted.
	Held []Held
	// Revisions are what instances say they offer, the one of most instances
	// first.
	Revisions []RevisionCount
}

// Held is how many instances are not called for one reason.
type Held struct {
	Why       string `json:"why"`
	Instances int    `json:"instances"`
}

// RevisionCount is how many instances are of one revision.
type RevisionCount struct {
	Revision  string
	Instances int
}

// Summarize counts the instances of a snapshot.
func Summarize(s Snapshot) Summary {
	sum := Summary{App: s.App, Mode: s.Mode, Service: s.Service, Instances: len(s.Instances)}
	for n := range s.Instances {
		i := &s.Instances[n]
		sum.addCluster(i)
		if why := i.Why(); why == "" {
			sum.Callable++
			if i.Kept != nil {
				sum.Kept++
			}
		} else if i.StandsBy() {
			sum.Standby++
		} else if at := slices.IndexFunc(sum.Held, func(h Held) bool { return h.Why == why }); at >= 0 {
			sum.Held[at].Instances++
		} else {
			sum.Held = append(sum.Held, Held{why, 1})
		}
		if i.Registered() {
			sum.Registered++
		}
		if i.Problem != "" {
			sum.Problems++
		}
		if i.Warning != "" {
			sum.Warnings++
		}
		for _, e := range i.Endpoints {
			if !slices.Contains(sum.Endpoints, e) {
				sum.Endpoints = append(sum.Endpoints, e)
			}
		}
		if !i.describes() {
			continue
		}
		if at := slices.IndexFunc(sum.Revisions, func(r RevisionCount) bool { return r.Revision == i.Revision }); at >= 0 {
			sum.Revisions[at].Instances++
		} else {
			sum.Revisions = append(sum.Revisions, RevisionCount{i.Revision, 1})
		}
	}
	slices.SortFunc(sum.Held, func(a, b Held) int { return strings.Compare(a.Why, b.Why) })
	slices.SortFunc(sum.Clusters, func(a, b ClusterCount) int { return strings.Compare(a.Cluster, b.Cluster) })
	slices.SortFunc(sum.Endpoints, func(a, b Endpoint) int { return strings.Compare(a.String(), b.String()) })
	slices.SortFunc(sum.Revisions, func(a, b RevisionCount) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), strings.Compare(a.Revision, b.Revision))
	})
	return sum
}

// addCluster counts an instance where it runs.
func (s *Summary) addCluster(i *Instance) {
	if i.Cluster == "" {
		return
	}
	at := slices.IndexFunc(s.Clusters, func(c ClusterCount) bool { return c.Cluster == i.Cluster })
	if at < 0 {
		at = len(s.Clusters)
		s.Clusters = append(s.Clusters, ClusterCount{Cluster: i.Cluster})
	}
	c := &s.Clusters[at]
	c.Instances++
	switch {
	case i.Callable():
		c.Callable++
	case i.StandsBy():
		c.Standby++
	}
}

// Protocols are what the instances speak, each once, sorted.
func (s *Summary) Protocols() []string {
	out := make([]string, 0, len(s.Endpoints))
	for _, e := range s.Endpoints {
		out = append(out, e.Protocol)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// String returns "dubbo:20000".
func (e Endpoint) String() string { return fmt.Sprintf("%s:%d", e.Protocol, e.Port) }

// offersNothing is the revision that Dubbo gives to an instance without services.
const offersNothing = "0"

// describes reports whether a document tells what the instance offers.
func (i *Instance) describes() bool { return i.Revision != "" && i.Revision != offersNothing }

// Find returns the instance with a name or an ID; nil for none. It is shared as
// the snapshot is.
func (s Snapshot) Find(who string) *Instance {
	for i := range s.Instances {
		if s.Instances[i].Name == who || s.Instances[i].ID == who {
			return &s.Instances[i]
		}
	}
	return nil
}

// Known reports whether there is such an application at all: a Service of its
// name, or an instance.
func (s Snapshot) Known() bool { return s.Service.known() || len(s.Instances) > 0 }

// known reports whether there is such a Service, though it may be one of another
// cluster that has no name here.
func (s Service) known() bool { return s.Host != "" || len(s.Ports) > 0 }
