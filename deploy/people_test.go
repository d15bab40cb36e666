package deploy_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/testkube"
)

// weir-provider that is bound to a person, or to a group of them, as for debugging, opens
// no more than it does to a ServiceAccount: neither pods nor what other applications say.
func TestARoleGivenToAPersonIsHeldTheSame(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{})
	_, err := n.Cluster.Client.RbacV1().RoleBindings(n.Name).Create(testkube.Context(t), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "debugging"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "weir-provider"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "developers"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := rest.CopyConfig(n.Cluster.REST())
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "dev@example.org", Groups: []string{"developers", "system:authenticated"}}
	dev := newActor(t, cfg, n.Name)
	dev.allowed("reading pods", func() error { // the binding is new
		_, err := dev.client.Resource(pods).Namespace(n.Name).Get(testkube.Context(t), "inventory-0", metav1.GetOptions{})
		return err
	})
	for what, patch := range map[string]string{
		"the image":        `{"spec":{"containers":[{"name":"main","image":"evil.example/x"}]}}`,
		"the registration": `{"metadata":{"annotations":{"io.dubbo/metadata":"{}"}}}`,
	} {
		dev.denied(what, dev.merge("inventory-0", patch), "lets dev@example.org patch its own pod only, and pod inventory-0 is not it")
	}
	dev.denied("an entry of an application", dev.apply(mappings, "weir-app-inventory", "m", mappingOf("inventory: v1")),
		"dev@example.org does not own application inventory")
	const name = "inventory-0123456789abcdef"
	dev.denied("metadata", dev.apply(metadatas, "weir-metadata", name,
		"apiVersion: registry.weirmesh.io/v1alpha1\nkind: AppMetadata\nmetadata: {name: "+name+"}\nspec: {app: inventory, revision: r, size: 2, sha256: '"+
			strings.Repeat("0", 64)+"', document: '{}'}"), "dev@example.org does not own application inventory")
}
