package testkube

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/deploy"
)

// install applies Weir's own manifests and waits until they count.
func (c *Cluster) install(ctx context.Context) error {
	client, err := dynamic.NewForConfig(c.rest)
	if err != nil {
		return fmt.Errorf("install Weir's manifests: %w", err)
	}
	force := true
	var definitions []string
	for _, manifest := range deploy.Manifests() {
		var object unstructured.Unstructured
		if err := yaml.Unmarshal(manifest.YAML, &object.Object); err != nil {
			return fmt.Errorf("read %s: %w", manifest.File, err)
		}
		body, err := object.MarshalJSON()
		if err != nil {
			return fmt.Errorf("read %s: %w", manifest.File, err)
		}
		// All of these are cluster-wide and named regularly.
		kind, _ := meta.UnsafeGuessKindToResource(object.GroupVersionKind())
		_, err = client.Resource(kind).Patch(ctx, object.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "testkube", Force: &force})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if object.GetKind() == "CustomResourceDefinition" {
			definitions = append(definitions, object.GetName())
		}
	}
	for _, name := range definitions {
		if err := c.awaitServed(ctx, client, name); err != nil {
			return err
		}
	}
	return c.awaitPolicies(ctx)
}

// prober is an account that owns no application but may write any, until the
// admission policies count: those that tests rely on were applied before the one
// that refuses it.
const proberNamespace, prober = "kube-public", "weir-testkube"

// awaitPolicies waits until the API server enforces the admission policies,
// which it reads about a second after they are written.
func (c *Cluster) awaitPolicies(ctx context.Context) error {
	user := "system:serviceaccount:" + proberNamespace + ":" + prober
	_, err := c.Client.RbacV1().RoleBindings(proberNamespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: prober},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "weir-provider"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind weir-provider: %w", err)
	}
	cfg := rest.CopyConfig(c.rest)
	cfg.Impersonate.UserName = user
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("impersonate %s: %w", user, err)
	}
	defer closeIdle(cfg)
	probeName := "nobodys-" + strings.Repeat("0", 16)
	probe := fmt.Sprintf(`{"apiVersion":"registry.weirmesh.io/v1alpha1","kind":"AppMetadata","metadata":{"name":%q},"spec":{"app":"nobodys","revision":"r","size":0,"sha256":%q}}`,
		probeName, strings.Repeat("0", 64))
	resource := client.Resource(schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "appmetadatas"})
	for {
		_, err := resource.Namespace(proberNamespace).Patch(ctx, probeName, types.ApplyPatchType, []byte(probe),
			metav1.PatchOptions{FieldManager: prober, DryRun: []string{metav1.DryRunAll}})
		if err != nil && strings.Contains(err.Error(), "does not own application nobodys") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not enforce Weir's admission policies: a probe met: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitServed waits until objects of a definition can be listed.
func (c *Cluster) awaitServed(ctx context.Context, client dynamic.Interface, definition string) error {
	group := schema.ParseGroupResource(definition)
	resource := client.Resource(group.WithVersion("v1alpha1"))
	for {
		_, err := resource.List(ctx, metav1.ListOptions{Limit: 1})
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster does not serve %s: %w", definition, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// addNode makes the node that the tests' pods are on, and keeps it alive: pods
// of a missing node have no endpoints, and those of a silent one are evicted.
func (c *Cluster) addNode(ctx context.Context) error {
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: c.node, Labels: map[string]string{
			corev1.LabelHostname: c.node, corev1.LabelTopologyZone: Zone,
		}},
	}
	_, err := c.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("make a node: %w", err)
	}
	// A patch, since the node controllers write the new node as well.
	now := time.Now().UTC().Format(time.RFC3339)
	status := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","reason":"Testkube","lastHeartbeatTime":%q,"lastTransitionTime":%q}]}}`, now, now)
	if _, err := c.Client.CoreV1().Nodes().Patch(ctx, c.node, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("make a node: %w", err)
	}
	if err := c.renew(ctx); err != nil {
		return fmt.Errorf("make a node: %w", err)
	}
	live, cancel := context.WithCancel(context.Background())
	c.end = cancel
	c.wg.Go(func() {
		for {
			select {
			case <-live.Done():
				return
			case <-time.After(10 * time.Second):
				_ = c.renew(live) // the cluster may be down for a test's sake
			}
		}
	})
	return nil
}

func (c *Cluster) renew(ctx context.Context) error {
	leases := c.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds, now := int32(40), metav1.NowMicro()
	lease, err := leases.Get(ctx, c.node, metav1.GetOptions{})
	if err == nil {
		lease.Spec.RenewTime = &now
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		return err
	}
	_, err = leases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: c.node},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &c.node, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}, metav1.CreateOptions{})
	return err
}

func (c *Cluster) removeNode(ctx context.Context) {
	_ = c.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(ctx, c.node, metav1.DeleteOptions{})
	_ = c.Client.CoreV1().Nodes().Delete(ctx, c.node, metav1.DeleteOptions{})
}

// closeIdle closes the connections that client-go keeps for a configuration:
// tests that count goroutines want them gone.
func closeIdle(cfg *rest.Config) {
	if transport, err := rest.TransportFor(cfg); err == nil {
		utilnet.CloseIdleConnectionsFor(transport)
	}
}
