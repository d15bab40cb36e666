package deploy_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weirmesh/weir/internal/testkube"
)

func object(kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: registry.weirmesh.io/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: %s", kind, name, spec)
}

// The API server refuses what nobody can mean, in words that say what to write.
func TestMistakesAreExplainedByTheAPIServer(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	admin := newActor(t, n.Cluster.REST(), n.Name)
	sum := strings.Repeat("0", 64)
	const entry = "at most 63 lower-case letters, digits and -, beginning with a letter, as for a Service"
	for _, c := range []struct {
		name     string
		resource schema.GroupVersionResource
		kind     string
		object   string // its name; "m" when empty
		spec     string
		words    string // empty where it is taken
	}{
		{name: "a policy with a mode", resource: policies, kind: "DiscoveryPolicy", spec: "{mode: pod}"},
		{name: "all there is", resource: policies, kind: "DiscoveryPolicy", spec: "{consumer: orders, provider: {namespace: 0ware-house, name: inventory}, mode: service, protection: {percent: 100, holdSeconds: 86400}}"},
		{name: "protection alone", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {disabled: true}}"},
		{name: "an empty policy", resource: policies, kind: "DiscoveryPolicy", spec: "{}", words: "the policy says nothing: give mode (pod or service), registry, protection or prefer"},
		{name: "names alone", resource: policies, kind: "DiscoveryPolicy", spec: "{consumer: orders}", words: "the policy says nothing"},
		{name: "a foreign consumer", resource: policies, kind: "DiscoveryPolicy", spec: "{consumer: shop/orders, mode: pod}",
			words: "a consumer is an application of the policy's own namespace: write its name alone, and make the policy in the consumer's namespace"},
		{name: "a consumer that is no label", resource: policies, kind: "DiscoveryPolicy", spec: "{consumer: Orders_App, mode: pod}", words: `"Orders_App" is no name of an application: use ` + entry},
		{name: "a long consumer", resource: policies, kind: "DiscoveryPolicy", spec: "{consumer: " + strings.Repeat("a", 64) + ", mode: pod}", words: "is no name of an application"},
		{name: "a provider in one word", resource: policies, kind: "DiscoveryPolicy", spec: "{provider: {name: shop/inventory}, mode: pod}", words: "a provider of another namespace is written in two fields: namespace and name"},
		{name: "a provider without a name", resource: policies, kind: "DiscoveryPolicy", spec: "{provider: {namespace: shop}, mode: pod}", words: "spec.provider.name: Required value"},
		{name: "a provider that is no label", resource: policies, kind: "DiscoveryPolicy", spec: "{provider: {name: 9lives}, mode: pod}", words: `"9lives" is no name of an application`},
		{name: "a namespace that is no label", resource: policies, kind: "DiscoveryPolicy", spec: "{provider: {namespace: The Shop, name: inventory}, mode: pod}", words: `"The Shop" is no name of a namespace: use lower-case letters, digits and -`},
		{name: "another mode", resource: policies, kind: "DiscoveryPolicy", spec: "{mode: sideways}", words: `spec.mode: Unsupported value: "sideways": supported values: "pod", "service"`},
		{name: "protection that says nothing", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {}}", words: "protection says nothing: give percent, holdSeconds or disabled, or leave it out"},
		{name: "protection on and off", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {disabled: true, percent: 50}}", words: "protection that is disabled keeps nothing: leave percent and holdSeconds out"},
		{name: "a preference alone", resource: policies, kind: "DiscoveryPolicy", spec: "{prefer: {clusters: [east, west], clusterPercent: 0, returnSeconds: 60, zonePercent: 50}}"},
		{name: "a preference that says nothing", resource: policies, kind: "DiscoveryPolicy", spec: "{prefer: {}}", words: "prefer says nothing: give clusters, clusterPercent, returnSeconds or zonePercent, or leave it out"},
		{name: "a share of more than all", resource: policies, kind: "DiscoveryPolicy", spec: "{prefer: {clusterPercent: 101}}", words: "clusterPercent is the share of a cluster's own instances, from 0 to 100"},
		{name: "a zone of more than all", resource: policies, kind: "DiscoveryPolicy", spec: "{prefer: {zonePercent: 101}}", words: "zonePercent is a share of an even spread over the zones, from 0 to 100"},
		{name: "a return at once", resource: policies, kind: "DiscoveryPolicy", spec: "{prefer: {returnSeconds: 0}}", words: "returnSeconds is from 1 to 86400, which is a day"},
		{name: "no percent", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {percent: 0}}", words: "percent is the share of an application's instances, from 1 to 100"},
		{name: "more than all", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {percent: 101}}", words: "from 1 to 100"},
		{name: "no time", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {holdSeconds: 0}}", words: "holdSeconds is from 1 to 86400, which is a day"},
		{name: "for ever", resource: policies, kind: "DiscoveryPolicy", spec: "{protection: {holdSeconds: 86401}}", words: "holdSeconds is from 1 to 86400"},

		{name: "a mapping", resource: mappings, kind: "InterfaceMapping", spec: "{interface: org.example.A$B, group: g, version: 1.0.0, apps: {inventory: v1}}"},
		{name: "group and version in the name", resource: mappings, kind: "InterfaceMapping", spec: `{interface: "g/org.example.A:1.0.0"}`, words: "the interface's name stands alone, as in org.example.InventoryService; group and version have fields of their own"},
		{name: "a name with a space", resource: mappings, kind: "InterfaceMapping", spec: `{interface: "org.example. A"}`, words: "the interface's name stands alone"},
		{name: "a group with a slash", resource: mappings, kind: "InterfaceMapping", spec: "{interface: a, group: a/b}", words: "a group holds no spaces, and no / or :"},
		{name: "a version with a colon", resource: mappings, kind: "InterfaceMapping", spec: `{interface: a, version: "1:0"}`, words: "a version holds no spaces, and no / or :"},
		{name: "an app that is no label", resource: mappings, kind: "InterfaceMapping", spec: "{interface: a, apps: {Inventory: v1}}", words: "spec.apps holds names of applications: " + entry},
		{name: "an unknown entry", resource: mappings, kind: "InterfaceMapping", spec: "{interface: a, apps: {inventory: v2}}", words: `Unsupported value: "v2": supported values: "v1"`},

		{name: "metadata", resource: metadatas, kind: "AppMetadata", object: "inventory-0123456789abcdef", spec: "{app: inventory, revision: r, size: 2, sha256: '" + sum + "', document: '{}'}"},
		{name: "metadata under another name", resource: metadatas, kind: "AppMetadata", object: "orders-0123456789abcdef", spec: "{app: inventory, revision: r, size: 2, sha256: '" + sum + "'}",
			words: "spec.app: Invalid value: metadata of application inventory must be named inventory- and 16 digits"},
		{name: "metadata in two forms", resource: metadatas, kind: "AppMetadata", object: "inventory-0123456789abcde0", spec: "{app: inventory, revision: r, size: 2, sha256: '" + sum + "', document: '{}', gzip: aaaa}", words: "give the document either as text or as gzip"},
		{name: "metadata with another sum", resource: metadatas, kind: "AppMetadata", object: "inventory-0123456789abcde0", spec: "{app: inventory, revision: r, size: 2, sha256: md5}", words: "sha256 is 64 digits 0-9 and a-f"},
		{name: "metadata of no app", resource: metadatas, kind: "AppMetadata", object: "inventory-0123456789abcde0", spec: "{app: In, revision: r, size: 2, sha256: '" + sum + "'}", words: `"In" is no name of an application`},
	} {
		if c.object == "" {
			c.object = "m"
		}
		err := admin.apply(c.resource, "kubectl", c.object, object(c.kind, c.object, c.spec))
		if c.words == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if err := admin.client.Resource(c.resource).Namespace(n.Name).Delete(testkube.Context(t), c.object, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v\nwant words that say %q", c.name, err, c.words)
		}
		if err != nil && strings.Contains(err.Error(), "failed rule") {
			t.Errorf("%s: a rule speaks for itself: %v", c.name, err)
		}
	}
}
