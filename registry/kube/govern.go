package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weirmesh/weir/registry"
)

// AnnotationGovern on a Service asks, with the value "true", to have its pods
// governed from outside, without code of Weir's in them: what they count is read
// from their management ports, and policies are applied there. Operators write it.
// Pods of other Services are neither read nor written.
const AnnotationGovern = "weirmesh.io/govern"

// AnnotationConfig on such a Service names a ConfigMap that its pods read their
// settings from at their start, as Spring Cloud Kubernetes does, or says "true" for
// the one of the Service's own name: policies are written into it too, into a
// document of their own. It is one of the Service's namespace; what is no name of a
// ConfigMap counts as none, and pods say so. Operators write it.
const AnnotationConfig = "weirmesh.io/config"

// Annotations of others, by which the management port of a pod is found.
const (
	annotationActuator       = "boot.spring.io/actuator"
	annotationPrometheusPort = "prometheus.io/port"
	annotationPrometheusPath = "prometheus.io/path"
)

// ClusterRoles of control planes, in deploy/rbac: what all need, and what writing
// into ConfigMaps takes.
const (
	roleControl = "weir-control"
	roleConfig  = "weir-config"
)

// wholePods are pods with what runs in them, which no watch carries.
var wholePods = &resource{name: podsResource.name, version: coreVersion, accept: acceptObjects, acceptList: acceptObjects, role: roleControl}

// configMaps are read one by one.
var configMaps = &resource{name: "configmaps", version: coreVersion, accept: acceptObjects, acceptList: acceptObjects, role: roleConfig}

var _ registry.Inspector = (*Hub)(nil)

// parseGovern reads a Service's wish to be governed; nil for none.
func parseGovern(service string, annotations map[string]string) *registry.Govern {
	if annotations[AnnotationGovern] != "true" {
		return nil
	}
	// An annotation can be long; what is meant here is short.
	short := func(s string) string { return s[:min(len(s), 1024)] }
	config, problem := short(annotations[AnnotationConfig]), ""
	switch {
	case config == "true":
		config = service
	case config != "" && len(validation.IsDNS1123Subdomain(config)) > 0:
		// It is read and written with the rights of a control plane.
		problem = fmt.Sprintf("the Service's annotation %s says %s, which is no name of a ConfigMap: none is read or written", AnnotationConfig, quote(config))
		config = ""
	}
	return &registry.Govern{
		Config: config, Problem: problem,
		Actuator:       short(annotations[annotationActuator]),
		PrometheusPort: short(annotations[annotationPrometheusPort]), PrometheusPath: short(annotations[annotationPrometheusPath]),
	}
}

func sameGovern(a, b *registry.Govern) bool { return a == b || a != nil && b != nil && *a == *b }

// Governed implements registry.Inspector.
func (h *Hub) Governed(ctx context.Context) ([]registry.App, error) {
	apps := []registry.App{}
	need := func() []*source {
		var all []*source
		for _, ns := range h.base {
			all = append(all, h.needInstances(ns)...)
		}
		return all
	}
	err := h.await(ctx, "the applications to govern", need, func() {
		for _, ns := range h.base {
			for name, a := range h.spaceOf(ns).apps {
				if a.service != nil && a.service.govern != nil {
					apps = append(apps, name)
				}
			}
		}
	})
	if err != nil {
		h.metrics.countError(err)
		return nil, err
	}
	slices.SortFunc(apps, registry.App.Compare)
	return apps, nil
}

// Pod implements registry.Inspector.
func (h *Hub) Pod(ctx context.Context, namespace, name string) (registry.Pod, error) {
	var o corev1.Pod
	try := attempt{verb: "get", resource: wholePods, namespace: namespace, name: name, role: roleControl}
	err := h.write(ctx, try, func(ctx context.Context) error { return h.client.get(ctx, wholePods, namespace, name, &o) })
	if err != nil {
		return registry.Pod{}, err
	}
	p := registry.Pod{ID: string(o.UID), PrometheusPort: o.Annotations[annotationPrometheusPort], PrometheusPath: o.Annotations[annotationPrometheusPath]}
	for i := range o.Spec.Containers {
		c := &o.Spec.Containers[i]
		out := registry.Container{Name: c.Name, Image: c.Image}
		for _, port := range c.Ports {
			if port.Protocol == "" || port.Protocol == corev1.ProtocolTCP {
				out.Ports = append(out.Ports, registry.ServicePort{Name: port.Name, Port: uint16(port.ContainerPort), Target: uint16(port.ContainerPort)})
			}
		}
		for j := range o.Status.ContainerStatuses {
			s := &o.Status.ContainerStatuses[j]
			if s.Name != c.Name {
				continue
			}
			out.Image = cmp.Or(s.ImageID, c.Image)
			if running := s.State.Running; running != nil {
				out.Process, out.Started = s.ContainerID, running.StartedAt.UTC()
			}
		}
		p.Containers = append(p.Containers, out)
	}
	return p, nil
}

// Config implements registry.Inspector.
func (h *Hub) Config(ctx context.Context, namespace, name string) (registry.Config, error) {
	var o corev1.ConfigMap
	try := attempt{verb: "get", resource: configMaps, namespace: namespace, name: name, role: roleConfig}
	if err := h.write(ctx, try, func(ctx context.Context) error { return h.client.get(ctx, configMaps, namespace, name, &o) }); err != nil {
		return registry.Config{}, err
	}
	c := registry.Config{ID: string(o.UID), Documents: o.Data}
	for i := range o.ManagedFields {
		if f := &o.ManagedFields[i]; f.Manager == configManager && f.Time != nil {
			c.Written = f.Time.UTC()
		}
	}
	return c, nil
}

// configManager is the field manager of documents in ConfigMaps: the API server
// keeps apart what it wrote.
const configManager = "weir-config"

// SetConfig implements registry.Inspector, by server-side apply, which would make a
// ConfigMap where none is: the UID is its condition.
func (h *Hub) SetConfig(ctx context.Context, namespace, name, id, document, text string) error {
	if id == "" {
		return &registry.Error{Code: registry.Invalid, Message: fmt.Sprintf("nobody has read ConfigMap %s/%s", namespace, name)}
	}
	data := map[string]string{}
	if text != "" {
		data[document] = text
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": namespace, "uid": id}, "data": data,
	})
	if err != nil {
		return fmt.Errorf("registry: encode ConfigMap %s/%s: %w", namespace, name, err)
	}
	try := attempt{verb: "patch", resource: configMaps, namespace: namespace, name: name, role: roleConfig}
	return h.write(ctx, try, func(ctx context.Context) error {
		err := h.client.apply(ctx, configMaps, namespace, name, configManager, body, &corev1.ConfigMap{})
		if otherUID(err) {
			return &registry.Error{Code: registry.NotFound, Message: fmt.Sprintf("there is no %s/%s in namespace %s", configMaps.full(), name, namespace), Err: err}
		}
		return err
	})
}

// otherUID reports whether a forced apply failed as the object is not there, which is
// a conflict then, or has another UID.
func otherUID(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return apierrors.IsConflict(err) || apierrors.IsInvalid(err) && details != nil &&
		slices.ContainsFunc(details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}
