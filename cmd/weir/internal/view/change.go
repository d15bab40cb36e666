package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmesh/weir/registry"
)

// Change is one difference between two snapshots of an application.
type Change struct {
	Time time.Time    `json:"time"`
	App  registry.App `json:"app"`
	// Kind is "app" for the application as a whole, "joined", "left" and
	// "changed" for an instance, "stale" and "fresh" for the view itself.
	Kind string `json:"kind"`
	// Instance is the pod's name; empty for the application as a whole. Cluster is where
	// it runs, where there are several.
	Instance string `json:"instance,omitempty"`
	Cluster  string `json:"cluster,omitempty"`
	Address  string `json:"address,omitempty"`
	// Text says what changed, for people.
	Text string `json:"text"`
	// Callable and Instances count the new snapshot's.
	Callable  int `json:"callable"`
	Instances int `json:"instances"`
}

// Changes returns what changed from one snapshot to the next, in a fixed order:
// the view, the application, then instances by name. A nil old snapshot stands
// for never having seen the application.
func Changes(old *registry.Snapshot, s registry.Snapshot) []Change {
	callable := len(s.Callable())
	var out []Change
	add := func(kind, instance, address, text string) {
		out = append(out, Change{
			Time: s.Observed, App: s.App, Kind: kind, Instance: instance, Address: address, Text: text,
			Callable: callable, Instances: len(s.Instances),
		})
	}
	of := func(kind string, i *registry.Instance, text string) {
		add(kind, name(i), address(i), text)
		out[len(out)-1].Cluster = i.Cluster
	}
	if old == nil {
		add("app", "", "", appText(s))
		for _, i := range byName(s.Instances) {
			of("joined", i, stateText(i))
		}
		if !s.StaleSince.IsZero() {
			add("stale", "", "", staleText(s))
		}
		return out
	}
	switch {
	case old.StaleSince.IsZero() && !s.StaleSince.IsZero():
		add("stale", "", "", staleText(s))
	case !old.StaleSince.IsZero() && s.StaleSince.IsZero():
		add("fresh", "", "", "the API server answers again; this is the present state")
	}
	if old.Mode != s.Mode {
		add("app", "", "", fmt.Sprintf("mode %s → %s", old.Mode, s.Mode))
	}
	if before, now := service(old.Service), service(s.Service); before != now {
		add("app", "", "", "service "+now)
	}
	was := make(map[string]*registry.Instance, len(old.Instances))
	for i := range old.Instances {
		was[old.Instances[i].ID] = &old.Instances[i]
	}
	for _, i := range byName(s.Instances) {
		before := was[i.ID]
		delete(was, i.ID)
		if before == nil {
			of("joined", i, stateText(i))
		} else if diff := instanceDiff(before, i); diff != "" {
			of("changed", i, diff)
		}
	}
	var left []*registry.Instance
	for _, i := range was {
		left = append(left, i)
	}
	slices.SortFunc(left, func(a, b *registry.Instance) int { return strings.Compare(name(a), name(b)) })
	for _, i := range left {
		of("left", i, "gone")
	}
	return out
}

func appText(s registry.Snapshot) string {
	sum := registry.Summarize(s)
	text := fmt.Sprintf("%s callable%s, mode %s", Callable(sum), kept(sum), s.Mode)
	if held := heldBack(sum.Held); held != "" {
		text += ", held back: " + held
	}
	return text
}

func staleText(s registry.Snapshot) string {
	return fmt.Sprintf("stale since %s: the API server does not answer; the last state known stands", s.StaleSince.Local().Format("15:04:05"))
}

func stateText(i *registry.Instance) string {
	if why := i.Why(); why != "" {
		return "not called: " + why
	}
	if k := i.Kept; k != nil {
		were := "were"
		if k.Lost == 1 {
			were = "was"
		}
		return fmt.Sprintf("kept: called though it is %s, since %d of %d %s lost at once", strings.ReplaceAll(string(k.Because), "-", " "), k.Lost, k.Of, were)
	}
	return "called"
}

// instanceDiff says what changed of an instance that a reader would care about.
func instanceDiff(old, i *registry.Instance) string {
	var parts []string
	note := func(what, before, now string) {
		if before != now {
			parts = append(parts, fmt.Sprintf("%s %s → %s", what, dash(before), dash(now)))
		}
	}
	if before, now := stateText(old), stateText(i); before != now {
		parts = append(parts, now)
	}
	note("address", address(old), address(i))
	note("speaks", speaks(old.Endpoints), speaks(i.Endpoints))
	note("revision", old.Revision, i.Revision)
	note("tag", old.Details.Tag, i.Details.Tag)
	if old.Details.Weight != i.Details.Weight {
		note("weight", fmt.Sprint(old.Details.Weight), fmt.Sprint(i.Details.Weight))
	}
	if len(parts) == 0 {
		if metadata := metadataDiff(old.Metadata, i.Metadata); metadata != "" {
			parts = append(parts, metadata)
		}
	}
	return strings.Join(parts, ", ")
}

func metadataDiff(old, now map[string]string) string {
	var keys []string
	for k, v := range now {
		if before, ok := old[k]; !ok || before != v {
			keys = append(keys, k)
		}
	}
	for k := range old {
		if _, ok := now[k]; !ok {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return ""
	}
	slices.Sort(keys)
	return "metadata changed: " + strings.Join(keys, ", ")
}

func address(i *registry.Instance) string {
	if !i.Host.IsValid() {
		return ""
	}
	return i.Host.String()
}

func byName(list []registry.Instance) []*registry.Instance {
	out := make([]*registry.Instance, 0, len(list))
	for i := range list {
		out = append(out, &list[i])
	}
	slices.SortFunc(out, func(a, b *registry.Instance) int {
		if c := strings.Compare(name(a), name(b)); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Line writes a change as one line for people.
func (c Change) Line() string {
	sign := map[string]string{"joined": "+", "left": "-", "changed": "~", "stale": "!", "fresh": "!"}[c.Kind]
	if sign == "" {
		sign = "="
	}
	text := fmt.Sprintf("%s  %-18s %s ", c.Time.Local().Format("15:04:05"), c.App, sign)
	if c.Instance != "" {
		text += c.Instance
		if c.Address != "" {
			text += " " + c.Address
		}
		if c.Cluster != "" {
			text += " in " + c.Cluster
		}
		text += "  "
	}
	text += c.Text
	if c.Instance != "" {
		text += fmt.Sprintf("  (%d of %d callable)", c.Callable, c.Instances)
	}
	return text
}
