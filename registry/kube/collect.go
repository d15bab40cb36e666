package kube

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/registry"
)

// How a revision that nobody runs any more goes. The control plane marks its
// AppMetadata by status.unusedSince; all that it has to remember is there, so a
// restart neither hastens nor forgets it. When that is longer ago than the grace, it
// asks the API server once more who runs what, and deletes the very version of the
// object that it has seen. An instance that comes to need the object in between finds
// it marked, and writes it (Hub.PutMetadata): then it is another version.

// storedMetadata is what a Caretaker keeps of an AppMetadata.
type storedMetadata struct {
	app              registry.App
	name, version    string
	uid              types.UID
	revision         string
	size             int64
	created, touched time.Time // touched is when an instance asked for it to be kept
	deleted          time.Time // when it was deleted; it is still there for its finalizers
	finalizers       []string
	status           metadataStatus
}

func newStoredMetadata(o *appMetadata) *storedMetadata {
	m := &storedMetadata{
		app: registry.App{Namespace: o.Namespace, Name: o.Spec.App}, name: o.Name, version: o.ResourceVersion, uid: o.UID,
		revision: o.Spec.Revision, size: o.Spec.Size, created: o.CreationTimestamp.Time, status: o.Status,
	}
	if at := o.DeletionTimestamp; at != nil {
		m.deleted, m.finalizers = at.Time, slices.Clone(o.Finalizers)
	}
	if at, err := time.Parse(time.RFC3339Nano, o.Annotations[annotationStored]); err == nil {
		m.touched = at
	}
	return m
}

// revisionKey is a revision as instances name it.
type revisionKey struct{ namespace, revision string }

// usage is who runs what.
type usage struct {
	instances map[revisionKey]int32
	// unread are applications with a pod whose annotation cannot be read, and
	// namespaces ("" for the name) with one of which nothing is known. What such a pod
	// runs is not known either.
	unread map[registry.App]string
}

func (u *usage) add(p *pod) {
	if p.said == nil || !p.said.registered {
		return
	}
	if p.said.problem == "" {
		if p.said.revision != "" {
			u.instances[revisionKey{p.said.namespace, p.said.revision}]++
		}
		return
	}
	apps := p.apps()
	if len(apps) == 0 {
		apps = []registry.App{{Namespace: p.said.namespace}}
	}
	for _, app := range apps {
		u.unread[app] = p.name
	}
}

// held says why a revision that no pod names is kept all the same; "" for no reason.
func (u *usage) held(app registry.App) string {
	pod, unread := u.unread[app]
	if !unread {
		pod, unread = u.unread[registry.App{Namespace: app.Namespace}]
	}
	if !unread {
		return ""
	}
	return fmt.Sprintf("it is not known what pod %s runs: its annotation %s cannot be read", pod, AnnotationMetadata)
}

// usage asks the hub who runs what. mu is held.
func (h *Hub) usage(namespaces []string) *usage {
	u := &usage{instances: map[revisionKey]int32{}, unread: map[registry.App]string{}}
	for _, namespace := range namespaces {
		for _, p := range h.spaceOf(namespace).pods {
			if p.known && !p.gone {
				u.add(p)
			}
		}
	}
	return u
}

// apps are the applications that a pod belongs to: by the slices, or else by its own
// word.
func (p *pod) apps() []registry.App {
	var all []registry.App
	if p.app != nil {
		all = append(all, p.app.name)
	}
	for _, a := range p.more() {
		all = append(all, a.name)
	}
	if len(all) == 0 && p.said.app != "" {
		all = append(all, registry.App{Namespace: p.said.namespace, Name: p.said.app})
	}
	return all
}

// young is how long an AppMetadata may be there before the instance that wrote it has
// registered.
const young = time.Minute

// wants is the status that an AppMetadata should have.
func (m *storedMetadata) wants(instances int32, now time.Time) metadataStatus {
	s := metadataStatus{Instances: instances}
	switch {
	case instances > 0:
	case m.status == (metadataStatus{}) && now.Sub(m.created) < young:
		return m.status
	default:
		since := now
		if m.status.UnusedSince != nil {
			since = m.status.UnusedSince.Time
		}
		if m.touched.After(since) {
			since = m.touched
		}
		at := metav1.NewTime(since.Truncate(time.Second))
		s.UnusedSince = &at
		if m.status.UnusedSince.Equal(&at) {
			s.Held = m.status.Held // as it was when somebody tried last to delete it
		}
	}
	if !m.deleted.IsZero() && now.Sub(m.deleted) >= young {
		s.Held = m.waits()
	}
	return s
}

// waits says what an AppMetadata that was deleted waits for.
func (m *storedMetadata) waits() string {
	return fmt.Sprintf("it was deleted at %s, and waits for its finalizers, which who set them has to take away: %s",
		m.deleted.UTC().Format(time.RFC3339), strings.Join(m.finalizers, ", "))
}

// deadRevision is a revision whose time is up.
type deadRevision struct{ *storedMetadata }

// examineRevisions finds what to write about revisions, and which are to go. hub.mu is
// held.
func (c *Caretaker) examineRevisions(w *work, now time.Time, where sees) {
	u := c.hub.usage(slices.Collect(maps.Keys(where)))
	unused := 0
	here := time.Now()
	seen := make(map[string]time.Time, len(c.unused))
	for uid, m := range c.metadatas.all {
		if !where.in(m.app.Namespace) {
			if since, ok := c.unused[uid]; ok {
				seen[uid] = since
				unused++
			}
			continue
		}
		n := u.instances[revisionKey{m.app.Namespace, m.revision}]
		wanted := m.wants(n, now)
		if !wanted.same(&m.status) {
			w.statuses = append(w.statuses, statusWrite{taskMetadatas, kindMetadata, m.app.Namespace, m.name, m.uid, wanted, m.status})
		}
		if !m.deleted.IsZero() && now.Sub(m.deleted) >= young {
			t := trouble{taskCollection, m.app.Namespace}
			c.round.needed[laterKey{t, ""}] = true
			c.round.failed[t] = &registry.Error{Code: registry.Conflict, Message: fmt.Sprintf("AppMetadata %s in namespace %s stays: %s", m.name, m.app.Namespace, m.waits())}
		}
		if n > 0 || wanted.UnusedSince == nil || !m.deleted.IsZero() {
			continue
		}
		unused++
		seen[uid] = here
		if since, ok := c.unused[uid]; ok {
			seen[uid] = since
		}
		if c.cfg.Grace > 0 && m.status.same(&wanted) && now.Sub(wanted.UnusedSince.Time) >= c.cfg.Grace &&
			here.Sub(seen[uid]) >= c.cfg.Settle && u.held(m.app) == "" {
			w.dead = append(w.dead, deadRevision{m})
		}
	}
	c.unused = seen
	c.metrics.unused.Set(float64(unused))
	c.metrics.kept.Set(float64(len(c.metadatas.all)))
	slices.SortFunc(w.dead, func(a, b deadRevision) int {
		return cmp.Or(a.status.UnusedSince.Compare(b.status.UnusedSince.Time), strings.Compare(string(a.uid), string(b.uid)))
	})
}

// collect deletes some of the dead. It reports whether the server was there for all.
func (c *Caretaker) collect(ctx context.Context, dead []deadRevision) bool {
	now := map[string]map[string]bool{} // the revisions that are run, by namespace
	most := mostDeletions
	for _, m := range dead {
		namespace := m.app.Namespace
		known := c.ready(trouble{taskWhoRuns, namespace}, "")
		if !c.ready(trouble{taskCollection, namespace}, string(m.uid)) || !known || most == 0 {
			continue
		}
		most--
		if c.lacking[taskMetadatas]["held"] {
			c.round.needed[laterKey{trouble{task: taskMetadatas}, lackingFields}] = true
		}
		running := now[namespace]
		if running == nil {
			// A watch may be behind without knowing. The dead can wait for certainty.
			var err error
			running, err = c.hub.revisionsNow(ctx, namespace)
			try := attempt{verb: "list", resource: podsResource, namespace: namespace, role: roleControl}
			if !c.outcome(ctx, taskWhoRuns, "", err, try) {
				return false
			}
			if err != nil {
				continue
			}
			now[namespace] = running
		}
		if running[m.revision] {
			continue
		}
		if !c.deleteRevision(ctx, m) {
			return false
		}
	}
	return true
}

// deleteRevision deletes one. It reports whether the server is there for the next.
func (c *Caretaker) deleteRevision(ctx context.Context, m deadRevision) bool {
	namespace := m.app.Namespace
	try := attempt{verb: "delete", resource: tendedMetadatas, namespace: namespace, name: m.name, role: roleControl}
	err := c.hub.client.deleteExactly(ctx, tendedMetadatas, namespace, m.name, string(m.uid), m.version)
	if err == nil {
		c.metrics.writes.WithLabelValues(writeDeletion).Inc()
		c.log.InfoContext(ctx, "deleted the metadata of a revision that nobody runs", "app", m.app.String(), "revision", m.revision,
			"object", m.name, "unused_since", m.status.UnusedSince.UTC().Format(time.RFC3339))
	}
	there := c.outcome(ctx, taskCollection, string(m.uid), err, try)
	if !there || c.later[laterKey{trouble{taskCollection, namespace}, string(m.uid)}] == nil {
		return there
	}
	// It is this object that cannot be deleted: its owner is told where they look.
	held := m.status
	held.Held = "it cannot be deleted: " + clipped(c.hub.client.explain(err, try).Error())
	write, news := c.fit(statusWrite{taskMetadatas, kindMetadata, namespace, m.name, m.uid, held, m.status})
	if held.same(&m.status) || !news {
		return true
	}
	return c.writeStatus(ctx, write)
}

// clipped keeps what others say to a length that people read.
func clipped(text string) string {
	const most = 500
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// revisionsNow asks the API server, and not what was watched, which revisions the pods
// of a namespace name.
func (h *Hub) revisionsNow(ctx context.Context, namespace string) (map[string]bool, error) {
	running := map[string]bool{}
	opts := metav1.ListOptions{Limit: pageSize}
	for {
		o, err := h.client.list(ctx, podsResource, namespace, opts)
		if err != nil {
			return nil, err
		}
		page, ok := o.(*metav1.PartialObjectMetadataList)
		if !ok {
			return nil, fmt.Errorf("unexpected answer %T", o)
		}
		for i := range page.Items {
			if text, has := page.Items[i].Annotations[AnnotationMetadata]; has {
				running[parseMetadata(text).revision] = true
			}
		}
		if opts.Continue = page.Continue; opts.Continue == "" {
			return running, nil
		}
	}
}

// StoredRevision is one AppMetadata, and who runs its revision.
type StoredRevision struct {
	App      registry.App `json:"app"`
	Revision string       `json:"revision"`
	// Object is the name of the AppMetadata.
	Object string `json:"object"`
	// Bytes are those of the document, as it was before it was compressed.
	Bytes  int64     `json:"bytes"`
	Stored time.Time `json:"stored"`
	// Instances are how many pods of the namespace name the revision.
	Instances int32 `json:"instances"`
	// UnusedSince is since when none does, as a control plane wrote it; zero while
	// one does, or none has seen it.
	UnusedSince time.Time `json:"unusedSince,omitzero"`
	// Held says why it is kept although no pod names it and its time may be up.
	Held string `json:"held,omitempty"`
}

// StoredRevisions lists the AppMetadata of a namespace (of all that the hub covers
// when it is empty), sorted by application and age, with how many pods name each
// revision. Errors as for Snapshot.
func (h *Hub) StoredRevisions(ctx context.Context, namespace string) ([]StoredRevision, error) {
	within := []string{namespace}
	if namespace == "" {
		within = h.base
	} else if err := (registry.App{Namespace: namespace, Name: "any"}).Validate(); err != nil {
		return nil, err
	}
	need := func() []*source {
		var all []*source
		for _, ns := range within {
			all = append(all, h.needInstances(ns)...)
		}
		return all
	}
	var u *usage
	if err := h.await(ctx, "who runs what", need, func() { u = h.usage(within) }); err != nil {
		h.metrics.countError(err)
		return nil, err
	}
	all := []StoredRevision{}
	for _, ns := range within {
		opts := metav1.ListOptions{Limit: 50} // documents can be large
		for {
			page := &appMetadataList{}
			try := attempt{verb: "list", resource: tendedMetadatas, namespace: ns, role: roleControl}
			err := h.write(ctx, try, func(ctx context.Context) error {
				o, err := h.client.list(ctx, tendedMetadatas, ns, opts)
				if list, ok := o.(*appMetadataList); ok && err == nil {
					page = list
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			for i := range page.Items {
				all = append(all, storedRevision(newStoredMetadata(&page.Items[i]), u))
			}
			if opts.Continue = page.Continue; opts.Continue == "" {
				break
			}
		}
	}
	slices.SortFunc(all, func(a, b StoredRevision) int {
		return cmp.Or(a.App.Compare(b.App), a.Stored.Compare(b.Stored), strings.Compare(a.Revision, b.Revision))
	})
	return all, nil
}

func storedRevision(m *storedMetadata, u *usage) StoredRevision {
	r := StoredRevision{
		App: m.app, Revision: m.revision, Object: m.name, Bytes: m.size, Stored: m.created.UTC(),
		Instances: u.instances[revisionKey{m.app.Namespace, m.revision}],
	}
	if !m.deleted.IsZero() {
		r.Held = m.waits()
		return r
	}
	if r.Instances > 0 {
		return r
	}
	r.Held = cmp.Or(u.held(m.app), m.status.Held)
	if since := m.status.UnusedSince; since != nil {
		r.UnusedSince = since.UTC()
		if m.touched.After(r.UnusedSince) {
			r.UnusedSince = m.touched.UTC().Truncate(time.Second)
		}
	}
	return r
}
