package kube

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
)

// maxReassertWait bounds the pause after a rewrite that failed.
const maxReassertWait = time.Minute

// watch begins to look after the registration. r.mu is not held: the hub's lock
// comes before it.
func (r *registrar) watch() {
	h := r.hub
	id := h.cfg.Identity
	s := &source{
		hub: h, resource: podsResource, namespace: id.Namespace, role: roleProvider,
		field: "metadata.name=" + id.Pod, table: ownPodTable{r},
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.run(h.ctx, s)
	h.wg.Go(func() { r.reassert(h.ctx) })
	h.wg.Go(func() { r.reassertSlowly(h.ctx) })
	h.wg.Go(func() { h.records.follow(h.ctx) })
	h.wg.Go(func() { h.records.ask(h.ctx) })
}

// ownPodTable sees what becomes of the pod's annotations.
type ownPodTable struct{ *registrar }

func (t ownPodTable) slim(obj runtime.Object) (string, any) {
	o, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return "", nil
	}
	return string(o.UID), &ownPod{version: o.ResourceVersion, managed: o.ManagedFields, annotations: map[string]string{
		AnnotationMetadata: o.Annotations[AnnotationMetadata],
		AnnotationInstance: o.Annotations[AnnotationInstance],
	}}
}

// ownPod is what is kept of the pod.
type ownPod struct {
	version     string
	annotations map[string]string
	managed     []metav1.ManagedFieldsEntry
}

// olderThan reports whether one version of an object comes before another.
// Versions that are no numbers have no order.
func olderThan(version, other string) bool {
	a, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return false
	}
	b, err := strconv.ParseUint(other, 10, 64)
	return err == nil && a < b
}

func (t ownPodTable) put(uid string, kept any, _ time.Time) {
	news, ok := kept.(*ownPod)
	if !ok {
		return
	}
	r := t.registrar
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid != r.uid {
		return
	}
	r.seen = news
	r.check()
}

// check has the registration written again if the pod, as it was last seen, has lost it.
// mu is held.
func (r *registrar) check() {
	if r.seen == nil || r.wanted == nil || !r.written || maps.Equal(r.wanted, r.seen.annotations) {
		return
	}
	if olderThan(r.seen.version, r.version) {
		return // the watch has not come to the newest write yet
	}
	r.written = false
	r.contest.lost(r.wrote, time.Now())
	r.hub.metrics.lost.Inc()
	log := r.hub.log.With("app", r.app.String(), "by", r.rival())
	switch r.contest.losses {
	case 1:
		log.Warn("registration was lost or changed by somebody; writing it again")
	case contested:
		log.Warn("somebody keeps changing the registration of this pod; it is written again ever more seldom, at last once a minute, and consumers go by what the other wrote until then")
	default:
		log.Debug("registration was lost again", "pause", r.contest.pause.String())
	}
	r.mend()
}

// rival names who holds what was lost, as far as the pod tells. mu is held.
func (r *registrar) rival() string {
	var differing []string
	for key, value := range r.wanted {
		if r.seen.annotations[key] != value {
			differing = append(differing, key)
		}
	}
	return cmp.Or(managers(r.seen.managed, differing...), "unknown")
}

// mend has reassert write what was lost.
func (r *registrar) mend() {
	select {
	case r.lost <- struct{}{}:
	default:
	}
}

func (t ownPodTable) remove(string, time.Time) {}

func (t ownPodTable) replace(all map[string]any, now time.Time) {
	for uid, kept := range all {
		t.put(uid, kept, now)
	}
}

// reassert writes what was lost. Who fights with another writer waits longer each time
// (contest); a change that the process itself asks for meanwhile does not wait.
func (r *registrar) reassert(ctx context.Context) {
	var wait time.Duration // after a failure
	for {
		select {
		case <-r.lost:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		app, wanted, pace := r.app, r.wanted != nil && !r.written, max(wait, r.contest.pause)
		r.mu.Unlock()
		if !wanted {
			continue
		}
		if pace > 0 && !pause.For(ctx, pace/2+rand.N(pace)) {
			return
		}
		switch err := r.settle(ctx, app); {
		case err == nil:
			wait = 0
		case registry.CodeOf(err) == registry.NotFound || ctx.Err() != nil:
			return // the pod is gone, or the hub
		default:
			r.hub.log.Error("registration cannot be written again", "app", app.String(), "error", err.Error())
			wait = min(max(2*wait, time.Second), maxReassertWait)
			r.mend()
		}
	}
}

// reassertSlowly writes the registration now and then even though nothing says
// that it was lost: where the pod may not be watched, nothing would.
func (r *registrar) reassertSlowly(ctx context.Context) {
	for {
		every := r.hub.cfg.Reassert
		if !pause.For(ctx, every/2+rand.N(every)) {
			return
		}
		r.mu.Lock()
		if r.wanted != nil && r.written {
			r.written = false
			r.mend()
		}
		r.mu.Unlock()
	}
}
