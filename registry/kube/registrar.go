package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

const (
	// registrarManager is the field manager of a pod's registration.
	registrarManager = "weir-registrar"
	// maxRegistration leaves room in the 256 KiB that Kubernetes gives all
	// annotations of an object together.
	maxRegistration = 192 << 10
	// Registrations that follow one another closely travel in one write.
	writePause = 100 * time.Millisecond
)

// registrar writes what this process says of itself into its own pod, and
// writes it again when it is lost. At most one write is under way; what is
// asked for meanwhile goes with the next.
type registrar struct {
	hub *Hub

	mu       sync.Mutex
	app      registry.App      // as which the pod is registered; zero when it is not
	wanted   map[string]string // the annotations; nil when not registered
	checked  registry.App      // whose Service was seen to select the pod
	uid      string            // of the pod
	written  bool              // wanted is known to be in the pod
	version  string            // of the pod as the newest write left it
	stored   map[string]string // what the newest write left; nil when nothing
	storedAs registry.App      // as which stored is registered
	writing  bool              // somebody writes
	lastTime time.Time
	done     chan struct{} // closed when the present write ends
	watching bool
	seen     *ownPod   // as the watch last told of it
	wrote    time.Time // when wanted was last written
	contest  contest
	lost     chan struct{} // capacity 1: wanted is to be written again
}

func newRegistrar(h *Hub) *registrar {
	return &registrar{hub: h, uid: h.cfg.Identity.UID, lost: make(chan struct{}, 1)}
}

// Register implements registry.Registrar, by two annotations of the pod that
// this process runs in. A pod is registered as one application: a second one is
// a Conflict. The application needs a Service of its name, in the pod's
// namespace, that selects the pod: without one nobody would find the instance,
// so that is NotFound, with a sentence that says what to write. While the
// cluster cannot be reached Register goes on trying until ctx ends.
func (h *Hub) Register(ctx context.Context, reg registry.Registration) error {
	err := h.registrar.register(ctx, reg)
	if err != nil {
		h.metrics.countError(err)
	}
	return err
}

// Unregister implements registry.Registrar. It takes the annotations away.
func (h *Hub) Unregister(ctx context.Context, app registry.App) error {
	err := h.registrar.unregister(ctx, app)
	if err != nil {
		h.metrics.countError(err)
	}
	return err
}

func (r *registrar) register(ctx context.Context, reg registry.Registration) error {
	if err := reg.Validate(); err != nil {
		return err
	}
	id := r.hub.cfg.Identity
	if err := checkIdentity(id, reg.App); err != nil {
		return err
	}
	annotations, err := encodeRegistration(reg, id.Zone)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.wanted != nil && r.app != reg.App {
		defer r.mu.Unlock()
		return &registry.Error{
			Code:    registry.Conflict,
			Message: fmt.Sprintf("pod %s/%s is registered as %s already, and a pod is one application", id.Namespace, id.Pod, r.app),
			Fix:     fmt.Sprintf("unregister it first, or run %s in a pod of its own", reg.App),
		}
	}
	checked := r.checked == reg.App
	r.mu.Unlock()
	if !checked {
		if err := r.checkService(ctx, reg.App); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.checked = reg.App
	if r.wanted != nil && r.app != reg.App {
		r.mu.Unlock()
		return r.register(ctx, reg) // lost a race: the sentence above applies
	}
	if !r.written || !maps.Equal(r.wanted, annotations) {
		r.app, r.wanted, r.written = reg.App, annotations, false
	}
	watch := !r.watching
	r.watching = true
	r.mu.Unlock()
	if watch {
		r.watch()
	}
	if err := r.settle(ctx, reg.App); err != nil {
		if code := registry.CodeOf(err); code == registry.Forbidden || code == registry.Invalid || code == registry.NotFound {
			r.giveUp(annotations)
		}
		return err
	}
	return nil
}

// giveUp withdraws the wish for annotations that can never be written, and goes
// back to what was written before, which the pod still holds.
func (r *registrar) giveUp(annotations map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.written && maps.Equal(r.wanted, annotations) {
		r.app, r.wanted, r.checked = r.storedAs, r.stored, r.storedAs
		r.written = r.stored != nil
	}
}

func (r *registrar) unregister(ctx context.Context, app registry.App) error {
	if err := app.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	if r.app != app || r.wanted == nil {
		r.mu.Unlock()
		return nil
	}
	r.wanted, r.written = nil, false
	r.mu.Unlock()
	err := r.settle(ctx, app)
	if registry.CodeOf(err) == registry.NotFound {
		return nil // the pod is gone, and what was written went with it
	}
	return err
}

// registered returns as which application the pod is registered; none when it is not.
func (r *registrar) registered() registry.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted == nil {
		return registry.App{}
	}
	return r.app
}

// settle returns once what is wanted is written: by this call, or by another
// that was under way and took it along.
func (r *registrar) settle(ctx context.Context, app registry.App) error {
	for {
		r.mu.Lock()
		switch {
		case r.written:
			r.mu.Unlock()
			return nil
		case r.writing:
			done := r.done
			r.mu.Unlock()
			select {
			case <-done:
				continue
			case <-ctx.Done():
				return r.hub.unknown(ctx, "the registration of "+app.String(), nil)
			}
		}
		r.writing, r.done = true, make(chan struct{})
		pause := writePause - time.Since(r.lastTime)
		r.mu.Unlock()
		if pause > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		err := r.write(ctx)
		r.mu.Lock()
		r.writing = false
		r.lastTime = time.Now()
		close(r.done)
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// write puts what is wanted at this moment into the pod: one request, which
// replaces what was written before and touches nothing else. The pod's UID goes
// along, so that a successor of the same name is not taken for it.
func (r *registrar) write(ctx context.Context) error {
	id := r.hub.cfg.Identity
	if err := r.findUID(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	app, wanted, uid := r.app, r.wanted, r.uid
	r.mu.Unlock()
	metadata := map[string]any{"name": id.Pod, "namespace": id.Namespace, "uid": uid}
	if wanted != nil {
		metadata["annotations"] = wanted
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
	if err != nil {
		return fmt.Errorf("registry: encode registration: %w", err)
	}
	try := attempt{verb: "patch", resource: podsResource, namespace: id.Namespace, name: id.Pod, role: roleProvider, self: true}
	pod := &metav1.PartialObjectMetadata{}
	err = r.hub.write(ctx, try, func(ctx context.Context) error {
		err := r.hub.client.apply(ctx, podsResource, id.Namespace, id.Pod, registrarManager, body, pod)
		if apierrors.IsNotFound(err) || hasOtherUID(err) || apierrors.IsConflict(err) && r.gone(ctx, uid) {
			return r.podGone()
		}
		if tooLong(err) {
			return &registry.Error{
				Code:    registry.Invalid,
				Message: fmt.Sprintf("the annotations of pod %s/%s would be longer than 256 KiB together, with the registration of %s", id.Namespace, id.Pod, app),
				Fix:     "take other large annotations from the pod, or keep large metadata in the metadata report (storage-type remote)",
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	r.hub.metrics.writes.Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.stored, r.storedAs = pod.ResourceVersion, wanted, app
	if wanted == nil {
		r.storedAs = registry.App{}
	}
	r.wrote = time.Now()
	if maps.Equal(r.wanted, wanted) && (r.wanted == nil) == (wanted == nil) {
		r.written = true
		if wanted == nil {
			r.app = registry.App{}
		}
	}
	r.check() // the watch may have told of a later write before this one was answered
	return nil
}

// hasOtherUID tells that a pod of the name is there and is not the one meant.
func hasOtherUID(err error) bool {
	cause, ok := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return ok && apierrors.IsInvalid(err) && cause.Field == "metadata.uid"
}

// tooLong tells that an object has no room for more annotations.
func tooLong(err error) bool {
	cause, ok := apierrors.StatusCause(err, metav1.CauseTypeTooLong)
	return ok && cause.Field == "metadata.annotations"
}

// gone reports whether the pod of that UID is there no more, by asking: a Conflict says
// so in words only, and there are others, which pass. What cannot be learned counts as
// there.
func (r *registrar) gone(ctx context.Context, uid string) bool {
	id := r.hub.cfg.Identity
	pod := &metav1.PartialObjectMetadata{}
	err := r.hub.client.get(ctx, podsResource, id.Namespace, id.Pod, pod)
	return apierrors.IsNotFound(err) || err == nil && string(pod.UID) != uid
}

func (r *registrar) podGone() error {
	id := r.hub.cfg.Identity
	return &registry.Error{
		Code:    registry.NotFound,
		Message: fmt.Sprintf("pod %s/%s is gone from the cluster, or another has taken its name", id.Namespace, id.Pod),
		Fix:     "set POD_NAME and POD_UID from the downward API if this process lives in another pod",
	}
}

// findUID asks the cluster for the pod's UID where the environment did not say.
func (r *registrar) findUID(ctx context.Context) error {
	r.mu.Lock()
	known := r.uid != ""
	r.mu.Unlock()
	if known {
		return nil
	}
	pod, err := r.ownPod(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uid = string(pod.UID)
	return nil
}

func (r *registrar) ownPod(ctx context.Context) (*metav1.PartialObjectMetadata, error) {
	id := r.hub.cfg.Identity
	pod := &metav1.PartialObjectMetadata{}
	try := attempt{verb: "get", resource: podsResource, namespace: id.Namespace, name: id.Pod, role: roleProvider, self: true}
	err := r.hub.write(ctx, try, func(ctx context.Context) error {
		err := r.hub.client.get(ctx, podsResource, id.Namespace, id.Pod, pod)
		if apierrors.IsNotFound(err) {
			return &registry.Error{
				Code:    registry.NotFound,
				Message: fmt.Sprintf("there is no pod %s in namespace %s", id.Pod, id.Namespace),
				Fix:     "set POD_NAME and POD_NAMESPACE from the downward API",
			}
		}
		return err
	})
	return pod, err
}

// checkService holds that consumers will find the pod: by the Service named like
// the application.
func (r *registrar) checkService(ctx context.Context, app registry.App) error {
	id := r.hub.cfg.Identity
	service := &corev1.Service{}
	try := attempt{verb: "get", resource: servicesResource, namespace: app.Namespace, name: app.Name, role: roleProvider}
	pod, err := r.ownPod(ctx)
	if err != nil {
		return err
	}
	missing := func(message, fix string) error {
		return &registry.Error{Code: registry.NotFound, Message: message, Fix: fix + " (docs/registry.md#service)"}
	}
	err = r.hub.write(ctx, try, func(ctx context.Context) error {
		err := r.hub.client.get(ctx, servicesResource, app.Namespace, app.Name, service)
		if apierrors.IsNotFound(err) {
			return missing(
				fmt.Sprintf("application %s has no Service, so nobody can find pod %s", app, id.Pod),
				fmt.Sprintf("make a Service %s in namespace %s that selects the pod, or name the application like the Service that does", app.Name, app.Namespace))
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(service.Spec.Selector) == 0 {
		return missing(
			fmt.Sprintf("Service %s selects no pods, so nobody can find pod %s", app, id.Pod),
			"give it a selector that the pod's labels match")
	}
	for _, key := range slices.Sorted(maps.Keys(service.Spec.Selector)) {
		want := service.Spec.Selector[key]
		switch got, ok := pod.Labels[key]; {
		case !ok:
			return missing(
				fmt.Sprintf("Service %s selects other pods: it wants label %s=%s, and pod %s has no such label", app, key, want, id.Pod),
				"add the label to the pod template, or correct the selector")
		case got != want:
			return missing(
				fmt.Sprintf("Service %s selects other pods: it wants label %s=%s, and pod %s has %s=%s", app, key, want, id.Pod, key, got),
				"correct the pod template or the selector")
		}
	}
	return nil
}

func checkIdentity(id Identity, app registry.App) error {
	if !id.InPod() {
		return &registry.Error{
			Code:    registry.NotFound,
			Message: fmt.Sprintf("cannot register %s: this process does not know which pod it runs in", app),
			Fix:     "in a pod, set POD_NAME and POD_NAMESPACE from the downward API; outside Kubernetes, leave the registry out and use direct URLs",
		}
	}
	if app.Namespace != id.Namespace {
		return &registry.Error{
			Code:    registry.Invalid,
			Message: fmt.Sprintf("cannot register %s: pod %s lives in namespace %s", app, id.Pod, id.Namespace),
			Fix:     "register the application in the pod's own namespace",
		}
	}
	return nil
}

func encodeRegistration(reg registry.Registration, zone string) (map[string]string, error) {
	metadata, err := encodeMetadata(reg.Metadata)
	if err != nil {
		return nil, err
	}
	details := reg.Details
	if details.Tag == "" {
		details.Tag = reg.Metadata[registry.KeyTag]
	}
	instance, err := encodeInstance(reg.App, details, zone)
	if err != nil {
		return nil, err
	}
	if size := len(metadata) + len(instance); size > maxRegistration {
		return nil, &registry.Error{
			Code:    registry.Invalid,
			Message: fmt.Sprintf("the registration of %s has %d bytes, and an annotation holds %d", reg.App, size, maxRegistration),
			Fix:     "keep large metadata in the metadata report (storage-type remote)",
		}
	}
	return map[string]string{AnnotationMetadata: metadata, AnnotationInstance: instance}, nil
}
