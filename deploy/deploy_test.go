package deploy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/deploy"
	"github.com/weirmesh/weir/internal/testkube"
)

func TestMain(m *testing.M) { testkube.Main(m) }

func TestManifestsAreOrderedAndOurs(t *testing.T) {
	var kinds []string
	for _, m := range deploy.Manifests() {
		var o unstructured.Unstructured
		if err := yaml.UnmarshalStrict(m.YAML, &o.Object); err != nil {
			t.Fatalf("%s: %v", m.File, err)
		}
		if o.GetLabels()["app.kubernetes.io/part-of"] != "weir" {
			t.Errorf("%s: %s %s is not labelled as part of weir", m.File, o.GetKind(), o.GetName())
		}
		kinds = append(kinds, o.GetKind())
	}
	order := []string{"CustomResourceDefinition", "ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
	last := 0
	for _, kind := range kinds {
		at := slices.Index(order, kind)
		if at < 0 {
			t.Fatalf("nobody expects a %s", kind)
		}
		if at < min(last, 2) {
			t.Fatalf("a %s comes after a %s", kind, order[last])
		}
		last = at
	}
	if last == 0 {
		t.Fatalf("manifests: %v", kinds)
	}
}

var (
	pods      = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	mappings  = schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "interfacemappings"}
	metadatas = schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "appmetadatas"}
	policies  = schema.GroupVersionResource{Group: "registry.weirmesh.io", Version: "v1alpha1", Resource: "discoverypolicies"}
)

// actor does things with the rights of one account.
type actor struct {
	t      *testing.T
	client dynamic.Interface
	ns     string
}

func newActor(t *testing.T, cfg *rest.Config, ns string) actor {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return actor{t, client, ns}
}

func (a actor) apply(r schema.GroupVersionResource, manager, name, yamlText string) error {
	force := true
	_, err := a.client.Resource(r).Namespace(a.ns).Patch(testkube.Context(a.t), name, types.ApplyPatchType, []byte(yamlText),
		metav1.PatchOptions{FieldManager: manager, Force: &force})
	return err
}

func (a actor) applyStatus(r schema.GroupVersionResource, name, yamlText string) error {
	force := true
	_, err := a.client.Resource(r).Namespace(a.ns).Patch(testkube.Context(a.t), name, types.ApplyPatchType, []byte(yamlText),
		metav1.PatchOptions{FieldManager: "weir-control", Force: &force}, "status")
	return err
}

func (a actor) merge(name, patch string) error {
	_, err := a.client.Resource(pods).Namespace(a.ns).Patch(testkube.Context(a.t), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// allowed waits for rights that were just granted, and fails if they never come.
func (a actor) allowed(what string, try func() error) {
	a.t.Helper()
	testkube.Eventually(a.t, what, try)
}

func (a actor) denied(what string, err error, words string) {
	a.t.Helper()
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), words) {
		a.t.Errorf("%s: %v, want a refusal that says %q", what, err, words)
	}
}

func TestAProviderPatchesItsOwnPodOnly(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "inventory", "weir-provider")
	own := n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory", Annotations: map[string]string{"a": "1"}})
	n.Pod(t, "inventory", "inventory-1", testkube.Pod{ServiceAccount: "inventory"})
	a := newActor(t, n.As(t, "inventory", own), n.Name)

	registration := func(pod string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, annotations: {io.dubbo/metadata: '{}', weirmesh.io/instance: '{\"v\":1}'}}", pod)
	}
	a.allowed("registering", func() error { return a.apply(pods, "weir-registrar", "inventory-0", registration("inventory-0")) })
	a.denied("registering another pod", a.apply(pods, "weir-registrar", "inventory-1", registration("inventory-1")),
		"patch its own pod only, and pod inventory-1 is not it")
	unbound := newActor(t, n.As(t, "inventory", nil), n.Name)
	a.denied("registering with a token of no pod", unbound.apply(pods, "weir-registrar", "inventory-0", registration("inventory-0")+" "), "patch its own pod only")

	for what, c := range map[string]struct{ patch, words string }{
		"a foreign annotation":         {`{"metadata":{"annotations":{"b":"2"}}}`, "may change no annotations but"},
		"changing a foreign one":       {`{"metadata":{"annotations":{"a":"2"}}}`, "may change no annotations but"},
		"removing a foreign one":       {`{"metadata":{"annotations":{"a":null}}}`, "may change no annotations but"},
		"a label":                      {`{"metadata":{"labels":{"app":"orders"}}}`, "may not change the labels"},
		"a finalizer":                  {`{"metadata":{"finalizers":["example.com/stay"]}}`, "may not change the labels, finalizers"},
		"an owner":                     {`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"y"}]}}`, "finalizers or owners"},
		"the image of the container":   {`{"spec":{"containers":[{"name":"main","image":"evil.example/x"}]}}`, "may not change the spec"},
		"a deadline, which ends a pod": {`{"spec":{"activeDeadlineSeconds":1}}`, "may not change the spec"},
	} {
		a.denied(what, a.merge("inventory-0", c.patch), c.words)
	}
	if err := a.merge("inventory-0", `{"metadata":{"annotations":{"io.dubbo/metadata":null,"weirmesh.io/instance":null}}}`); err != nil {
		t.Errorf("taking the registration back: %v", err)
	}
	a.denied("patching status", func() error {
		_, err := a.client.Resource(pods).Namespace(n.Name).Patch(testkube.Context(t), "inventory-0", types.MergePatchType, []byte(`{"status":{"phase":"Failed"}}`), metav1.PatchOptions{}, "status")
		return err
	}(), "cannot patch resource \"pods/status\"")
}

// The policy is for providers; who may update any pod is none of its business.
func TestOperatorsAreLeftAlone(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	n.ServiceAccount(t, "operator", "weir-provider", "edit")
	n.ServiceAccount(t, "patcher")
	n.Role(t, "patch-pods", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "patch"}})
	n.Bind(t, "patcher", "Role", "patch-pods")
	for _, account := range []string{"operator", "patcher"} {
		a := newActor(t, n.As(t, account, nil), n.Name)
		a.allowed(account, func() error {
			return a.merge("inventory-0", fmt.Sprintf(`{"metadata":{"labels":{%q:"was-here"}}}`, account))
		})
	}
}

func mappingOf(apps string) string {
	return "apiVersion: registry.weirmesh.io/v1alpha1\nkind: InterfaceMapping\nmetadata: {name: m}\nspec: {interface: org.example.A, apps: {" + apps + "}}"
}

func TestAnInterfaceIsNotTakenOver(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	for _, account := range []string{"inventory", "thief", "deputy"} {
		n.ServiceAccount(t, account, "weir-provider")
	}
	inventory := newActor(t, n.As(t, "inventory", nil), n.Name)
	thief := newActor(t, n.As(t, "thief", nil), n.Name)
	deputy := newActor(t, n.As(t, "deputy", nil), n.Name)

	thief.allowed("an entry of its own makes the object", func() error { return thief.apply(mappings, "weir-app-thief", "m", mappingOf("thief: v1")) })
	inventory.allowed("an entry of its own", func() error { return inventory.apply(mappings, "weir-app-inventory", "m", mappingOf("inventory: v1")) })
	thief.denied("an entry for another", thief.apply(mappings, "weir-app-thief", "m", mappingOf("thief: v1, orders: v1")),
		"thief does not own application orders: run it under ServiceAccount "+n.Name+"/orders, or grant the verb provide on applications.registry.weirmesh.io named orders")
	thief.denied("another field manager does not help", thief.apply(mappings, "weir-app-inventory", "m", mappingOf("thief: v1")), "does not own application inventory")
	_, err := thief.client.Resource(mappings).Namespace(n.Name).Patch(testkube.Context(t), "m", types.MergePatchType, []byte(`{"spec":{"apps":{"inventory":null}}}`), metav1.PatchOptions{})
	thief.denied("removing another's entry", err, "does not own application inventory")
	_, err = thief.client.Resource(mappings).Namespace(n.Name).Patch(testkube.Context(t), "m", types.MergePatchType, []byte(`{"spec":{"interface":"org.example.B"}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) {
		t.Errorf("turning the mapping into one of another interface: %v", err)
	}
	for _, field := range []string{"group", "version"} {
		_, err = thief.client.Resource(mappings).Namespace(n.Name).Patch(testkube.Context(t), "m", types.MergePatchType, fmt.Appendf(nil, `{"spec":{%q:"x"}}`, field), metav1.PatchOptions{})
		if !apierrors.IsInvalid(err) {
			t.Errorf("turning the mapping into one of another %s: %v", field, err)
		}
	}
	owner := `"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"00000000-0000-0000-0000-000000000000"}]`
	for what, metadata := range map[string]string{"an owner that is not there": owner, "a finalizer": `"finalizers":["example.com/stay"]`} {
		_, err = thief.client.Resource(mappings).Namespace(n.Name).Patch(testkube.Context(t), "m", types.MergePatchType, []byte(`{"metadata":{`+metadata+`}}`), metav1.PatchOptions{})
		thief.denied("giving the object "+what, err, "may not set the owners or finalizers")
		made := strings.Replace(mappingOf("thief: v1"), "{name: m}", "{name: made, "+strings.NewReplacer(`":`, `": `).Replace(metadata)+"}", 1)
		thief.denied("making an object with "+what, thief.apply(mappings, "weir-app-thief", "made", made), "may not set the owners or finalizers")
	}
	err = thief.client.Resource(mappings).Namespace(n.Name).Delete(testkube.Context(t), "m", metav1.DeleteOptions{})
	thief.denied("deleting the object", err, "cannot delete resource")

	deputy.denied("a deputy without a grant", deputy.apply(mappings, "weir-app-inventory", "m", mappingOf("inventory: v1, orders: v1")), "does not own application orders")
	n.Role(t, "provide-orders", rbacv1.PolicyRule{
		APIGroups: []string{"registry.weirmesh.io"}, Resources: []string{"applications"}, ResourceNames: []string{"orders"}, Verbs: []string{"provide"},
	})
	n.Bind(t, "deputy", "Role", "provide-orders")
	deputy.allowed("a deputy with a grant", func() error { return deputy.apply(mappings, "weir-app-orders", "m", mappingOf("orders: v1")) })

	// An account of the same name in another namespace is another account.
	elsewhere := n.Cluster.Namespace(t)
	elsewhere.ServiceAccount(t, "inventory")
	n.BindFrom(t, elsewhere, "inventory", "ClusterRole", "weir-provider")
	namesake := newActor(t, elsewhere.As(t, "inventory", nil), n.Name)
	testkube.Eventually(t, "the namesake's refusal", func() error {
		err := namesake.apply(mappings, "weir-app-inventory", "other", strings.Replace(mappingOf("inventory: v1"), "name: m", "name: other", 1))
		if err == nil {
			t.Fatal("a namesake from another namespace may write the entry")
		}
		if strings.Contains(err.Error(), "does not own application inventory") {
			return nil
		}
		return err
	})
}

func TestMetadataBelongsToItsApplication(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "inventory", "weir-provider")
	n.ServiceAccount(t, "thief", "weir-provider")
	inventory := newActor(t, n.As(t, "inventory", nil), n.Name)
	thief := newActor(t, n.As(t, "thief", nil), n.Name)
	name := "inventory-0123456789abcdef"
	document := func(text string) string {
		return "apiVersion: registry.weirmesh.io/v1alpha1\nkind: AppMetadata\nmetadata: {name: " + name + "}\nspec: {app: inventory, revision: r, size: 2, sha256: '" +
			strings.Repeat("0", 64) + "', document: '" + text + "'}"
	}
	inventory.allowed("storing", func() error { return inventory.apply(metadatas, "weir-metadata", name, document("{}")) })
	thief.allowed("reading", func() error {
		_, err := thief.client.Resource(metadatas).Namespace(n.Name).Get(testkube.Context(t), name, metav1.GetOptions{})
		return err
	})
	squat := strings.NewReplacer("name: inventory-0123456789abcdef", "name: inventory-0000000000000000", "app: inventory", "app: thief").Replace(document("{}"))
	if err := thief.apply(metadatas, "weir-metadata", "inventory-0000000000000000", squat); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata of application thief must be named thief-") {
		t.Errorf("taking a name of another's: %v", err)
	}
	thief.denied("overwriting", thief.apply(metadatas, "weir-metadata", name, document("[]")), "does not own application inventory")
	thief.denied("deleting without the right", thief.client.Resource(metadatas).Namespace(n.Name).Delete(testkube.Context(t), name, metav1.DeleteOptions{}), "cannot delete resource")
	inventory.denied("deleting one's own, which is the control plane's to do", inventory.client.Resource(metadatas).Namespace(n.Name).Delete(testkube.Context(t), name, metav1.DeleteOptions{}), "cannot delete resource")
	inventory.denied("listing", func() error {
		_, err := inventory.client.Resource(metadatas).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
		return err
	}(), "cannot list resource")
	// A deleter by RBAC still owns nothing.
	n.Role(t, "delete-metadata", rbacv1.PolicyRule{APIGroups: []string{"registry.weirmesh.io"}, Resources: []string{"appmetadatas"}, Verbs: []string{"delete"}})
	n.Bind(t, "thief", "Role", "delete-metadata")
	testkube.Eventually(t, "the right to delete to count", func() error {
		err := thief.client.Resource(metadatas).Namespace(n.Name).Delete(testkube.Context(t), name, metav1.DeleteOptions{})
		if err == nil {
			t.Fatal("a thief deletes another's metadata")
		}
		if strings.Contains(err.Error(), "does not own application inventory") {
			return nil
		}
		return err
	})
	// What a control plane writes there is not the provider's to say.
	inventory.denied("writing the status", inventory.applyStatus(metadatas, name, "apiVersion: registry.weirmesh.io/v1alpha1\nkind: AppMetadata\nmetadata: {name: "+name+"}\nstatus: {instances: 9}"), "cannot patch resource \"appmetadatas/status\"")
}

// A control plane keeps Weir's objects in order and can do nothing else to anybody.
func TestAControlPlaneMayDoItsWorkOnly(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "control", "weir-control")
	n.ServiceAccount(t, "inventory", "weir-provider")
	own := n.Pod(t, "inventory", "inventory-0", testkube.Pod{ServiceAccount: "inventory"})
	service := n.Service(t, "inventory", 20000)
	control := newActor(t, n.As(t, "control", nil), n.Name)
	inventory := newActor(t, n.As(t, "inventory", own), n.Name)
	admin := newActor(t, n.Cluster.REST(), n.Name)
	name := "inventory-0123456789abcdef"
	document := object("AppMetadata", name, "{app: inventory, revision: r, size: 2, sha256: '"+strings.Repeat("0", 64)+"', document: '{}'}")
	inventory.allowed("storing", func() error { return inventory.apply(metadatas, "weir-metadata", name, document) })
	inventory.allowed("mapping", func() error { return inventory.apply(mappings, "weir-app-inventory", "m", mappingOf("inventory: v1")) })
	admin.allowed("a policy", func() error {
		return admin.apply(policies, "kubectl", "p", object("DiscoveryPolicy", "p", "{mode: pod}"))
	})

	for _, r := range []schema.GroupVersionResource{
		pods, mappings, metadatas, policies, {Version: "v1", Resource: "services"}, {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	} {
		control.allowed("listing "+r.Resource, func() error {
			_, err := control.client.Resource(r).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
			return err
		})
	}
	status := func(kind, name string) string {
		return "apiVersion: registry.weirmesh.io/v1alpha1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nstatus: {}"
	}
	control.allowed("the status of metadata", func() error { return control.applyStatus(metadatas, name, status("AppMetadata", name)) })
	control.allowed("the status of a mapping", func() error { return control.applyStatus(mappings, "m", status("InterfaceMapping", "m")) })
	control.allowed("the status of a policy", func() error { return control.applyStatus(policies, "p", status("DiscoveryPolicy", "p")) })
	events := schema.GroupVersionResource{Version: "v1", Resource: "events"}
	_, err := control.client.Resource(events).Namespace(n.Name).Create(testkube.Context(t), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": "e", "namespace": n.Name},
		"involvedObject": map[string]any{"kind": "Service", "namespace": n.Name, "name": service.Name}, "reason": "R", "message": "m",
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Errorf("an event: %v", err)
	}

	control.denied("metadata itself", control.apply(metadatas, "weir-metadata", name, document+" "), "cannot patch resource")
	control.denied("a mapping itself", control.apply(mappings, "weir-control", "m", mappingOf("control: v1")), "cannot patch resource")
	control.denied("a policy itself", control.apply(policies, "weir-control", "p", object("DiscoveryPolicy", "p", "{mode: service}")), "cannot patch resource")
	control.denied("a pod", control.merge("inventory-0", `{"metadata":{"annotations":{"io.dubbo/metadata":"{}"}}}`), "cannot patch resource")
	control.denied("deleting a mapping", control.client.Resource(mappings).Namespace(n.Name).Delete(testkube.Context(t), "m", metav1.DeleteOptions{}), "cannot delete resource")
	control.denied("deleting a policy", control.client.Resource(policies).Namespace(n.Name).Delete(testkube.Context(t), "p", metav1.DeleteOptions{}), "cannot delete resource")
	control.denied("deleting a pod", control.client.Resource(pods).Namespace(n.Name).Delete(testkube.Context(t), "inventory-0", metav1.DeleteOptions{}), "cannot delete resource")
	_, err = control.client.Resource(events).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
	control.denied("reading events", err, "cannot list resource")
	for _, r := range []string{"secrets", "configmaps"} {
		_, err = control.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: r}).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
		control.denied("reading "+r, err, "cannot list resource")
	}
	control.allowed("deleting metadata", func() error {
		return control.client.Resource(metadatas).Namespace(n.Name).Delete(testkube.Context(t), name, metav1.DeleteOptions{})
	})
}

func TestAConsumerReadsOnly(t *testing.T) {
	n := testkube.Start(t).Namespace(t)
	n.ServiceAccount(t, "orders", "weir-consumer")
	orders := newActor(t, n.As(t, "orders", nil), n.Name)
	for _, r := range []schema.GroupVersionResource{
		pods, mappings, policies, {Version: "v1", Resource: "services"},
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	} {
		orders.allowed("listing "+r.Resource, func() error {
			_, err := orders.client.Resource(r).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
			return err
		})
	}
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	orders.denied("patching a pod", orders.merge("inventory-0", `{"metadata":{"annotations":{"io.dubbo/metadata":"{}"}}}`), "cannot patch")
	orders.denied("writing a mapping", orders.apply(mappings, "x", "m", mappingOf("orders: v1")), "cannot patch")
	if _, err := orders.client.Resource(metadatas).Namespace(n.Name).Get(testkube.Context(t), "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading metadata: %v", err)
	}
	for _, r := range []schema.GroupVersionResource{mappings, metadatas, policies} {
		orders.denied("writing a status of "+r.Resource, orders.applyStatus(r, "m", "apiVersion: registry.weirmesh.io/v1alpha1\nkind: X\nmetadata: {name: m}"), "cannot patch")
		orders.denied("deleting of "+r.Resource, orders.client.Resource(r).Namespace(n.Name).Delete(testkube.Context(t), "m", metav1.DeleteOptions{}), "cannot delete")
	}
	_, err := orders.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "secrets"}).Namespace(n.Name).List(testkube.Context(t), metav1.ListOptions{})
	orders.denied("reading secrets", err, "cannot list")
	other := n.Cluster.Namespace(t)
	_, err = orders.client.Resource(pods).Namespace(other.Name).List(testkube.Context(t), metav1.ListOptions{})
	orders.denied("reading another namespace", err, "cannot list")
}

func TestNamespacesCanStillBeEmptied(t *testing.T) {
	c := testkube.Start(t)
	n := c.Namespace(t)
	admin := newActor(t, c.REST(), n.Name)
	admin.allowed("an administrator writes what it likes", func() error { return admin.apply(mappings, "kubectl", "m", mappingOf("inventory: v1, orders: v1")) })
	if err := c.Client.CoreV1().Namespaces().Delete(testkube.Context(t), n.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "the namespace to go", func() error {
		_, err := c.Client.CoreV1().Namespaces().Get(testkube.Context(t), n.Name, metav1.GetOptions{})
		if err == nil {
			return errors.New("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
