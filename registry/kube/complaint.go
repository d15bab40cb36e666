package kube

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
)

// task is a part of the upkeep, as people are told of it.
type task struct {
	kind     string // as in the metrics
	resource *resource
	text     string
}

// The tasks of a Caretaker, beside the watches that it needs.
var (
	taskPolicies   = task{writeStatus, tendedPolicies, "write the status of discoverypolicies.registry.weirmesh.io"}
	taskMappings   = task{writeStatus, tendedMappings, "write the status of interfacemappings.registry.weirmesh.io"}
	taskMetadatas  = task{writeStatus, tendedMetadatas, "write the status of appmetadatas.registry.weirmesh.io"}
	taskEvents     = task{writeEvent, eventsResource, "tell owners by events what is wrong with their objects"}
	taskWhoRuns    = task{writeDeletion, podsResource, "see who runs what before old AppMetadata is deleted"}
	taskCollection = task{writeDeletion, tendedMetadatas, "delete the AppMetadata of revisions that nobody runs"}
)

// watching is the task to know what there is of a kind.
func watching(r *resource) task {
	return task{needWatch, r, fmt.Sprintf("see what there is of %s", r.full())}
}

// trouble is a task that fails in a namespace; in all of them where it is empty.
type trouble struct {
	task      task
	namespace string
}

// complaint is what is wrong with a task.
type complaint struct {
	why   *registry.Error
	since time.Time
}

// complaints are what people have been told and is still so.
type complaints struct {
	mu  sync.Mutex
	all map[trouble]complaint
}

// UpkeepProblem is a part of the upkeep that cannot be done.
type UpkeepProblem struct {
	// Task says what cannot be done: "write the status of …".
	Task string
	// Namespaces are where not, sorted; none where it cannot be done anywhere.
	Namespaces []string
	// Since is when that was first seen.
	Since time.Time
	// Reason says why, in the first of the namespaces.
	Reason string
}

// Problems returns what a caretaker cannot do, by task. It may be called at any time.
func (c *Caretaker) Problems() []UpkeepProblem {
	c.complaints.mu.Lock()
	defer c.complaints.mu.Unlock()
	at := map[task]*UpkeepProblem{}
	all := []UpkeepProblem{}
	for _, t := range sortedTroubles(maps.Keys(c.complaints.all)) {
		told := c.complaints.all[t]
		p := at[t.task]
		if p == nil {
			p = &UpkeepProblem{Task: t.task.text, Since: told.since, Reason: told.why.Error()}
			at[t.task] = p
		}
		if t.namespace != "" {
			p.Namespaces = append(p.Namespaces, t.namespace)
		}
		if told.since.Before(p.Since) {
			p.Since = told.since
		}
	}
	for _, p := range at {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b UpkeepProblem) int { return strings.Compare(a.Task, b.Task) })
	return all
}

func sortedTroubles(all func(func(trouble) bool)) []trouble {
	return slices.SortedFunc(all, func(a, b trouble) int {
		return strings.Compare(a.task.text+"\x00"+a.namespace, b.task.text+"\x00"+b.namespace)
	})
}

// laterKey is what is put off: what one object needs, or, without its UID, a task in a
// namespace.
type laterKey struct {
	trouble
	uid string
}

// later is something that was tried in vain, and is not tried before it is due.
type later struct {
	wait time.Duration
	due  time.Time
}

// longestWait times Every is the longest pause before something is tried again that
// failed: what holds it may be mended at any time, and there may be thousands of them.
const longestWait = 60

// round is what came of one look.
type round struct {
	needed map[laterKey]bool           // what there is to do, put off or not
	failed map[trouble]*registry.Error // what was tried in vain
	done   map[trouble]bool            // what was done
}

func newRound() *round {
	return &round{needed: map[laterKey]bool{}, failed: map[trouble]*registry.Error{}, done: map[trouble]bool{}}
}

// ready notes that something is to be done, and reports whether it is to be tried now.
func (c *Caretaker) ready(t trouble, uid string) bool {
	now, ready := time.Now(), true
	for _, key := range [...]laterKey{{trouble{task: t.task}, ""}, {t, ""}, {t, uid}} {
		c.round.needed[key] = true
		if l := c.later[key]; l != nil && now.Before(l.due) {
			ready = false
		}
	}
	return ready
}

// putOff sees to it that something is not tried again at once, so that others have
// their turn, and longer each time.
func (c *Caretaker) putOff(t trouble, uid string) {
	key := laterKey{t, uid}
	l := c.later[key]
	if l == nil {
		l = &later{wait: c.cfg.Every / 2}
		c.later[key] = l
	}
	l.wait = min(2*l.wait, longestWait*c.cfg.Every)
	l.due = time.Now().Add(l.wait/2 + rand.N(l.wait/2+1))
}

// conclude compares what a look has come to with what people were told before. What is
// no trouble any more can be told of a whole look only.
func (c *Caretaker) conclude(ctx context.Context, whole bool) {
	r := c.round
	waiting := map[trouble]bool{}
	for key := range c.later {
		if whole && !r.needed[key] {
			delete(c.later, key) // it is gone, or somebody else has done it
			continue
		}
		waiting[key.trouble] = true
	}
	still := func(t trouble) bool {
		return r.failed[t] != nil || waiting[t] || r.needed[laterKey{t, ""}] && !r.done[t]
	}
	begun, ended := map[task][]trouble{}, map[task][]trouble{}
	c.complaints.mu.Lock()
	for t, why := range r.failed {
		old, told := c.complaints.all[t]
		if told && old.why.Code == why.Code {
			continue
		}
		if !told {
			old.since = c.cfg.Now().UTC()
		}
		c.complaints.all[t] = complaint{why, old.since}
		begun[t.task] = append(begun[t.task], t)
	}
	for t := range c.complaints.all {
		if whole && !still(t) {
			delete(c.complaints.all, t)
			ended[t.task] = append(ended[t.task], t)
		}
	}
	c.complaints.mu.Unlock()
	for task, all := range begun {
		for _, t := range all {
			c.metrics.failing.WithLabelValues(t.labels()...).Set(1)
		}
		c.log.WarnContext(ctx, "cannot do part of the upkeep; it is tried again and not told again",
			"task", task.text, "namespaces", namespacesText(all), "reason", r.failed[sortedTroubles(slices.Values(all))[0]].Error())
	}
	for task, all := range ended {
		for _, t := range all {
			c.metrics.failing.DeleteLabelValues(t.labels()...)
		}
		c.log.InfoContext(ctx, "part of the upkeep is no trouble any more", "task", task.text, "namespaces", namespacesText(all))
	}
}

// labels are those of the metric.
func (t trouble) labels() []string {
	namespace := t.namespace
	if namespace == "" {
		namespace = AllNamespaces
	}
	return []string{t.task.kind, t.task.resource.name, namespace}
}

// namespacesText names the namespaces of troubles of one task.
func namespacesText(all []trouble) string {
	var names []string
	for _, t := range sortedTroubles(slices.Values(all)) {
		names = append(names, t.labels()[2])
	}
	return strings.Join(names, ",")
}

func newFailing() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "weir_registry_upkeep_failing",
		Help: "1 while part of the upkeep of Weir's objects cannot be done in a namespace (* for all), by kind (watch, status, event, deletion) and the resource that it needs.",
	}, []string{"kind", "resource", "namespace"})
}
