package kube

import (
	"context"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

var _ registry.Locator = (*Hub)(nil)

// PodAt implements registry.Locator. It asks the API server: no watch carries the
// addresses of pods that no Service selects.
func (h *Hub) PodAt(ctx context.Context, namespace string, address netip.Addr) (registry.PodName, error) {
	if namespace != "" {
		// It becomes part of the request's path.
		if err := (registry.App{Namespace: namespace, Name: "any"}).Validate(); err != nil {
			return registry.PodName{}, err
		}
	}
	within := []string{namespace}
	if namespace == "" {
		within = h.base
	}
	var found []registry.PodName
	for _, ns := range within {
		pods := &corev1.PodList{}
		try := attempt{verb: "list", resource: wholePods, namespace: ns, role: roleControl}
		err := h.write(ctx, try, func(ctx context.Context) error {
			// The newest that the server has in memory will do.
			o, err := h.client.list(ctx, wholePods, ns, metav1.ListOptions{FieldSelector: "status.podIP=" + address.String(), ResourceVersion: "0"})
			if list, ok := o.(*corev1.PodList); ok && err == nil {
				pods = list
			}
			return err
		})
		if err != nil {
			return registry.PodName{}, err
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			// Those that have ended keep the address that they had, and those of a node's
			// network share its.
			if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
				continue
			}
			found = append(found, registry.PodName{Namespace: p.Namespace, Name: p.Name, ID: string(p.UID)})
		}
	}
	if len(found) != 1 {
		return registry.PodName{}, &registry.Error{Code: registry.NotFound, Message: "no pod has the address " + address.String() + " for itself"}
	}
	return found[0], nil
}
