package deploy_test

import (
	"fmt"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/weirmesh/weir/internal/testkube"
)

// Every right of every role, and none beyond: each of these verbs on each of these
// resources is asked for with a real token of an account that holds the role alone.
func TestRolesHoldNoMoreThanTheyNeed(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	resources := []string{
		"pods", "pods/status", "pods/exec", "pods/log", "pods/eviction", "pods/binding", "pods/ephemeralcontainers", "pods/resize", "pods/proxy", "pods/portforward",
		"services", "services/status", "services/proxy", "endpoints", "configmaps", "secrets", "serviceaccounts", "serviceaccounts/token", "events", "namespaces", "nodes",
		"endpointslices.discovery.k8s.io", "deployments.apps", "leases.coordination.k8s.io", "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
		"tokenreviews.authentication.k8s.io", "customresourcedefinitions.apiextensions.k8s.io", "validatingadmissionpolicies.admissionregistration.k8s.io",
		"interfacemappings.registry.weirmesh.io", "interfacemappings/status.registry.weirmesh.io",
		"appmetadatas.registry.weirmesh.io", "appmetadatas/status.registry.weirmesh.io",
		"discoverypolicies.registry.weirmesh.io", "discoverypolicies/status.registry.weirmesh.io",
		"applications.registry.weirmesh.io", "instances.registry.weirmesh.io",
	}
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "register", "provide", "collect", "impersonate", "escalate", "bind"}
	consumer := map[string]string{
		"pods": "list watch", "services": "list watch", "endpointslices.discovery.k8s.io": "list watch",
		"interfacemappings.registry.weirmesh.io": "list watch", "discoverypolicies.registry.weirmesh.io": "list watch", "appmetadatas.registry.weirmesh.io": "get",
	}
	for role, may := range map[string]map[string]string{
		"weir-consumer": consumer,
		"weir-gateway":  consumer,
		"weir-provider": {
			"pods": "get list watch patch", "services": "get", "interfacemappings.registry.weirmesh.io": "get create patch",
			"appmetadatas.registry.weirmesh.io": "get create patch", "instances.registry.weirmesh.io": "register",
		},
		"weir-control": {
			"pods": "get list watch", "services": "get list watch", "endpointslices.discovery.k8s.io": "list watch", "events": "create",
			"interfacemappings.registry.weirmesh.io": "list watch", "discoverypolicies.registry.weirmesh.io": "list watch",
			"appmetadatas.registry.weirmesh.io": "get list watch delete", "applications.registry.weirmesh.io": "collect",
			"interfacemappings/status.registry.weirmesh.io": "patch", "appmetadatas/status.registry.weirmesh.io": "patch", "discoverypolicies/status.registry.weirmesh.io": "patch",
			"tokenreviews.authentication.k8s.io": "create",
		},
		"weir-config": {"configmaps": "get patch"},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			account := strings.TrimPrefix(role, "weir-")
			n.ServiceAccount(t, account, role)
			client, err := kubernetes.NewForConfig(n.As(t, account, nil))
			if err != nil {
				t.Fatal(err)
			}
			holds := func(verb, resource string) bool {
				t.Helper()
				name, group, _ := strings.Cut(resource, ".")
				name, sub, _ := strings.Cut(name, "/")
				review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(testkube.Context(t), &authorizationv1.SelfSubjectAccessReview{
					Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
						Namespace: n.Name, Verb: verb, Group: group, Resource: name, Subresource: sub,
					}},
				}, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return review.Status.Allowed
			}
			for resource, verbs := range may {
				for verb := range strings.FieldsSeq(verbs) {
					testkube.Eventually(t, verb+" "+resource, func() error { // the binding is new
						if holds(verb, resource) {
							return nil
						}
						return fmt.Errorf("%s may not %s %s", role, verb, resource)
					})
				}
			}
			for _, resource := range resources {
				for _, verb := range verbs {
					if !strings.Contains(" "+may[resource]+" ", " "+verb+" ") && holds(verb, resource) {
						t.Errorf("%s may %s %s, and does not need to", role, verb, resource)
					}
				}
			}
		})
	}
}
