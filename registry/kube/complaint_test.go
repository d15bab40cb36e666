package kube_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry/kube"
)

// failing reads where part of the upkeep fails, as Prometheus is told: kind, resource,
// namespace.
func failing(t *testing.T, metrics prometheus.Gatherer) []string {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		if f.GetName() != "weir_registry_upkeep_failing" {
			continue
		}
		for _, m := range f.GetMetric() {
			at := map[string]string{}
			for _, l := range m.GetLabel() {
				at[l.GetName()] = l.GetValue()
			}
			all = append(all, fmt.Sprintf("%s %s in %s: %v", at["kind"], at["resource"], at["namespace"], m.GetGauge().GetValue()))
		}
	}
	slices.Sort(all)
	return all
}

// What may not be done in one namespace is told of that one, in the log, by Problems
// and by the metric; it is done in the others, and each ends by itself.
func TestComplaintsAreOfNamespaces(t *testing.T) {
	t.Parallel()
	c := testkube.Start(t)
	home, b, d, closed := c.Namespace(t), c.Namespace(t), c.Namespace(t), c.Namespace(t)
	as := controller(t, home)
	for _, n := range []*testkube.Namespace{b, d} {
		n.BindFrom(t, home, "control", "ClusterRole", "weir-consumer")
		n.Role(t, "watch-metadata", watchMetadata)
		n.BindFrom(t, home, "control", "Role", "watch-metadata")
	}
	for _, n := range []*testkube.Namespace{home, b, d, closed} {
		objectsOf(t, n).policy("p", map[string]any{"mode": "pod"})
	}
	var log safeBuffer
	var looks lookingClock
	metrics := prometheus.NewRegistry()
	caretaker, _ := tendAll(t, []string{closed.Name, b.Name, d.Name, home.Name}, as,
		kube.CaretakerConfig{Now: looks.now, Logger: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics})

	const task = "write the status of discoverypolicies.registry.weirmesh.io"
	problems := func(what string, want ...string) {
		t.Helper()
		slices.Sort(want)
		testkube.Eventually(t, what, func() error {
			var got []string
			for _, p := range caretaker.Problems() {
				got = append(got, p.Task+" in "+strings.Join(p.Namespaces, ","))
				if p.Since.IsZero() || !strings.Contains(p.Reason, p.Namespaces[0]) || !strings.Contains(p.Reason, "bind ClusterRole weir-control") && p.Task == task {
					return fmt.Errorf("it says %+v", p)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("they are %q, want %q", got, want)
			}
			return nil
		})
	}
	in := func(namespaces ...string) string {
		slices.Sort(namespaces)
		return task + " in " + strings.Join(namespaces, ",")
	}
	blind := func(resource string) string { return "see what there is of " + resource + " in " + closed.Name }
	unseen := []string{blind("endpointslices.discovery.k8s.io"), blind("pods"), blind("services"),
		blind("appmetadatas.registry.weirmesh.io"), blind("discoverypolicies.registry.weirmesh.io"), blind("interfacemappings.registry.weirmesh.io")}
	objectsOf(t, home).says("discoverypolicies", "p", "Accepted", "True Accepted: it is for all calls from and to namespace "+home.Name)
	problems("both namespaces", append(slices.Clone(unseen), in(b.Name, d.Name))...)
	gauges := failing(t, metrics)
	for _, want := range []string{"status discoverypolicies in " + b.Name + ": 1", "status discoverypolicies in " + d.Name + ": 1", "watch pods in " + closed.Name + ": 1"} {
		if !slices.Contains(gauges, want) {
			t.Errorf("the metric says %q, want %s", gauges, want)
		}
	}
	if len(gauges) != len(unseen)+2 {
		t.Errorf("the metric says %q", gauges)
	}

	// One is mended, and ends; the other goes on, and is not told again.
	b.BindFrom(t, home, "control", "ClusterRole", "weir-control")
	objectsOf(t, b).says("discoverypolicies", "p", "Accepted", "True Accepted: it is for all calls from and to namespace "+b.Name)
	problems("one namespace", append(slices.Clone(unseen), in(d.Name))...)
	if gauges := failing(t, metrics); slices.Contains(gauges, "status discoverypolicies in "+b.Name+": 1") || !slices.Contains(gauges, "status discoverypolicies in "+d.Name+": 1") {
		t.Errorf("the metric says %q", gauges)
	}
	looks.look(t, 10)

	// What there is no need of any more is no trouble either.
	if err := objectsOf(t, d).of("discoverypolicies").Delete(testkube.Context(t), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	problems("no policies", unseen...)
	told := 0
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, `task="`+task+`"`) || !strings.Contains(line, "level=WARN") {
			continue
		}
		_, names, _ := strings.Cut(line, "namespaces=")
		names, _, _ = strings.Cut(names, " ")
		told += len(strings.Split(names, ","))
		if strings.Contains(names, home.Name) {
			t.Errorf("it complains of the namespace where it may: %s", line)
		}
	}
	if told != 2 {
		t.Errorf("two namespaces were to be told of once each, and %d were:\n%s", told, log.String())
	}
	for _, n := range []*testkube.Namespace{b, d} {
		if want := `msg="part of the upkeep is no trouble any more" task="` + task + `" namespaces=` + n.Name; strings.Count(log.String(), want) != 1 {
			t.Errorf("log:\n%s\nwant once: %s", log.String(), want)
		}
	}

	// A namespace that may be seen from now on is looked after.
	closed.BindFrom(t, home, "control", "ClusterRole", "weir-control")
	objectsOf(t, closed).says("discoverypolicies", "p", "Accepted", "True Accepted: it is for all calls from and to namespace "+closed.Name)
	problems("nothing")
}

// watchMetadata is what a caretaker needs to see revisions.
var watchMetadata = rbacv1.PolicyRule{APIGroups: []string{"registry.weirmesh.io"}, Resources: []string{"appmetadatas"}, Verbs: []string{"list", "watch"}}

// Who may not do it says so once, and does the rest.
func TestACaretakerWithoutRightsSaysSo(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	o := objectsOf(t, n)
	now := marked(t, n, o, controller(t, n))
	o.policy("p", map[string]any{"mode": "pod"})
	n.ServiceAccount(t, "reader", "weir-consumer")
	n.Role(t, "watch-metadata", watchMetadata)
	n.Bind(t, "reader", "Role", "watch-metadata")
	var log safeBuffer
	tend(t, n, n.As(t, "reader", nil), kube.CaretakerConfig{Now: now.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, what := range []string{
		`msg="cannot do part of the upkeep; it is tried again and not told again" task="write the status of discoverypolicies.registry.weirmesh.io" namespaces=` + n.Name + ` reason=`,
		`msg="cannot do part of the upkeep; it is tried again and not told again" task="delete the AppMetadata of revisions that nobody runs" namespaces=` + n.Name + ` reason=`,
	} {
		testkube.Eventually(t, what, func() error {
			if !strings.Contains(log.String(), what) {
				return fmt.Errorf("log:\n%s", log.String())
			}
			return nil
		})
	}
	now.look(t, 10)
	if n := strings.Count(log.String(), "level=WARN"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, log.String())
	}
	if want := "bind ClusterRole weir-control to it"; strings.Count(log.String(), want) != 2 {
		t.Errorf("log:\n%s\nwant twice: %s", log.String(), want)
	}
	if o.metadata() == nil {
		t.Error("it is gone")
	}
}
