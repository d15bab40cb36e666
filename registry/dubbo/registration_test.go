package dubbo

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"

	"github.com/weirmesh/weir/registry"
)

// The annotation has the bytes that Dubbo Java's own Kubernetes registry writes,
// but for the revision and the release, which are opaque to both.
func TestInstanceMetadataIsJavas(t *testing.T) {
	const dubbo = `{"dubbo.endpoints":"[{\"port\":20880,\"protocol\":\"dubbo\"}]",` +
		`"dubbo.metadata-service.url-params":"{\"version\":\"1.0.0\",\"dubbo\":\"2.0.2\",\"release\":\"RELEASE\",\"side\":\"provider\",\"port\":\"20880\",\"protocol\":\"dubbo\"}",` +
		`"dubbo.metadata.revision":"REVISION","dubbo.metadata.storage-type":"local","meta-v":"1.0.0"}`
	const both = `{"dubbo.endpoints":"[{\"port\":20880,\"protocol\":\"dubbo\"},{\"port\":50051,\"protocol\":\"tri\"}]",` +
		`"dubbo.metadata-service.url-params":"{\"version\":\"1.0.0\",\"dubbo\":\"2.0.2\",\"release\":\"RELEASE\",\"side\":\"provider\",\"port\":\"50051\",\"protocol\":\"tri\"}",` +
		`"dubbo.metadata.revision":"REVISION","dubbo.metadata.storage-type":"local","meta-v":"2.0.0"}`
	for name, tc := range map[string]struct {
		exported []*common.URL
		at       metadataEndpoint
		want     string
	}{
		"one protocol": {
			exported: []*common.URL{exportedURL("dubbo", "20880", "org.example.Stock"), exportedURL("dubbo", "20880", "org.example.Price")},
			at:       metadataEndpoint{protocol: "dubbo", port: 20880},
			want:     dubbo,
		},
		"two protocols": {
			exported: []*common.URL{exportedURL("tri", "50051", "org.example.Stock"), exportedURL("dubbo", "20880", "org.example.Stock")},
			at:       metadataEndpoint{protocol: "tri", port: 50051},
			want:     both,
		},
	} {
		doc, _, err := describe("inventory", tc.exported)
		if err != nil {
			t.Fatal(err)
		}
		m, err := instanceMetadata(doc, tc.exported, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.NewReplacer(doc.info.Revision, "REVISION", release, "RELEASE").Replace(string(encoded))
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, tc.want)
		}
		// What dubbo-go and the other registries read must find the same in it.
		endpoints, err := registry.DubboEndpoints(m)
		if err != nil || len(endpoints) == 0 {
			t.Errorf("%s: endpoints %v, %v", name, endpoints, err)
		}
	}
}

func TestInstanceMetadataWithoutMetadataService(t *testing.T) {
	exported := []*common.URL{exportedURL("rest", "8080", "org.example.Stock", constant.ApplicationTagKey, "gray", constant.EnvironmentKey, "test")}
	doc, _, err := describe("inventory", exported)
	if err != nil {
		t.Fatal(err)
	}
	m, err := instanceMetadata(doc, exported, metadataEndpoint{})
	if err != nil {
		t.Fatal(err)
	}
	if m["dubbo.metadata.storage-type"] != "remote" || m["meta-v"] != "" {
		t.Errorf("metadata is %v", m)
	}
	if m["dubbo.tag"] != "gray" || m["environment"] != "test" {
		t.Errorf("tag or environment got lost: %v", m)
	}
}

func TestExportedDetails(t *testing.T) {
	started := time.Unix(1700000000, 0)
	d := exportedDetails([]*common.URL{exportedURL("tri", "1", "a", constant.WeightKey, "300", constant.Tagkey, "gray")}, started)
	want := registry.Details{Weight: 300, Tag: "gray", State: registry.Up, Started: started}
	if !d.Equal(want) {
		t.Errorf("details are %+v, want %+v", d, want)
	}
	d = exportedDetails([]*common.URL{exportedURL("tri", "1", "a", constant.WeightKey, "0")}, started)
	if d.Weight != registry.DefaultWeight {
		t.Errorf("weight is %d without one configured", d.Weight)
	}
}

// Each service keeps its own weight where they differ; none is given another's.
func TestWeightOfServices(t *testing.T) {
	for name, weights := range map[string]struct{ exported, want map[string]string }{
		"one for all":   {map[string]string{"a": "300", "b": "300"}, map[string]string{"a": "300", "b": "300"}},
		"each its own":  {map[string]string{"a": "300", "b": "50"}, map[string]string{"a": "300", "b": "50"}},
		"one is silent": {map[string]string{"a": "300", "b": "0"}, map[string]string{"a": "300", "b": "100"}},
		"all are":       {map[string]string{"a": "0", "b": "0"}, map[string]string{"a": "100", "b": "100"}},
	} {
		var exported []*common.URL
		for _, iface := range slices.Sorted(maps.Keys(weights.exported)) {
			exported = append(exported, exportedURL("tri", "20001", iface, constant.WeightKey, weights.exported[iface]))
		}
		doc, _, err := describe("inventory", exported)
		if err != nil {
			t.Fatal(err)
		}
		i := callable("i", "10.0.0.1", doc.info.Revision)
		i.Details = exportedDetails(exported, time.Unix(1700000000, 0))
		for iface, want := range weights.want {
			if got := urls(&i, doc.services[iface][0])[0].GetParam(constant.WeightKey, ""); got != want {
				t.Errorf("%s: %s is called with weight %q, want %s", name, iface, got, want)
			}
		}
	}
}

func TestBadPort(t *testing.T) {
	for _, port := range []string{"", "0", "x", "70000"} {
		_, err := exportedEndpoints([]*common.URL{exportedURL("tri", port, "org.example.Stock")})
		if registry.CodeOf(err) != registry.Invalid {
			t.Errorf("port %q: %v", port, err)
		}
	}
}

type rackCustomizer struct{}

func (rackCustomizer) GetPriority() int { return 200 }

func (rackCustomizer) Customize(i goregistry.ServiceInstance) {
	if i.GetServiceName() != "racked" { // dubbo-go never forgets a customizer
		return
	}
	i.GetMetadata()["rack"] = "r7"
	i.GetMetadata()["dubbo.endpoints"] = "broken"
}

// A user's customizer adds keys; it cannot spoil those of the registry.
func TestCustomizer(t *testing.T) {
	extension.AddCustomizers(rackCustomizer{})
	exported := []*common.URL{exportedURL("tri", "20001", "org.example.Stock")}
	doc, _, err := describe("racked", exported)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{"dubbo.endpoints": "[]"}
	customize(m, doc, exported)
	if m["rack"] != "r7" || m["dubbo.endpoints"] != "[]" || len(m) != 2 {
		t.Errorf("metadata is %v", m)
	}
}
