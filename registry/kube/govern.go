package kube

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/weirmesh/weir/registry"
)

// AnnotationGovern on a Service asks, with the value "true", to have its pods
// governed from outside, without code of Weir's in them: what they count is read
// from their management ports, and policies are applied there. Operators write it.
// Pods of other Services are neither read nor written.
const AnnotationGovern = "weirmesh.io/govern"

// Annotations of others, by which the management port of a pod is found.
const (
	annotationActuator       = "boot.spring.io/actuator"
	annotationPrometheusPort = "prometheus.io/port"
	annotationPrometheusPath = "prometheus.io/path"
)

// roleControl is the ClusterRole of control planes, in deploy/rbac.
const roleControl = "weir-control"

// wholePods are pods with what runs in them, which no watch carries.
var wholePods = &resource{name: podsResource.name, version: coreVersion, accept: acceptObjects, acceptList: acceptObjects, role: roleControl}

var _ registry.Inspector = (*Hub)(nil)

// parseGovern reads a Service's wish to be governed; nil for none.
func parseGovern(annotations map[string]string) *registry.Govern {
	if annotations[AnnotationGovern] != "true" {
		return nil
	}
	// An annotation can be long; what is meant here is short.
	short := func(s string) string { return s[:min(len(s), 1024)] }
	return &registry.Govern{
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
