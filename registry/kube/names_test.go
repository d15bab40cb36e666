package kube

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/registry"
)

// What is written into a cluster is read by other versions and by Dubbo Java: the
// names of objects and Services, and the bytes of annotations, change on purpose only.
func TestWhatIsWrittenIsThatOfTheGoldenFile(t *testing.T) {
	var out bytes.Buffer
	app := registry.App{Namespace: "shop", Name: "inventory"}
	for _, i := range []registry.Interface{
		{Name: "org.example.InventoryService"},
		{Name: "org.example.InventoryService", Group: "g", Version: "1.0.0"},
		{Name: "org.example.Outer$Inner"},
		{Name: "UnqualifiedAndLongerThanTheFortyBytesThatAreKeptOfIt"},
	} {
		fmt.Fprintf(&out, "InterfaceMapping of %s: %s\n", i, mappingName(i))
	}
	fmt.Fprintf(&out, "InterfaceMapping of org.example.InventoryService for %s alone: %s\n", app, ownMappingName(registry.Interface{Name: "org.example.InventoryService"}, app))
	for _, revision := range []string{"5f1c0a", strings.Repeat("0123456789abcdef", 8)} {
		fmt.Fprintf(&out, "AppMetadata of revision %s: %s\n", revision, metadataName(app, revision))
	}

	h := quietHub(Config{})
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.feed(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "inventory"}}, false, now)
	fmt.Fprintf(&out, "Service of %s: %s\n", app, join(h.spaceOf("").apps[app], registry.ModeService, now).Service.Host)

	full := registry.Registration{
		App: app,
		Metadata: map[string]string{
			"dubbo.endpoints":                   `[{"port":20880,"protocol":"dubbo"},{"port":50051,"protocol":"tri"}]`,
			"dubbo.metadata-service.url-params": `{"version":"1.0.0","dubbo":"2.0.2","release":"3.3.1","side":"provider","port":"50051","protocol":"tri"}`,
			"dubbo.metadata.revision":           "8f14e45fceea167a5a36dedd4bea2543",
			"dubbo.metadata.storage-type":       "local",
			"meta-v":                            "2.0.0",
			"dubbo.tag":                         "gray",
			"note":                              `<a&b> "quoted" 中文`,
		},
		Details: registry.Details{Weight: 250, State: registry.Draining, Started: time.Date(2026, 11, 20, 12, 0, 0, 500, time.FixedZone("", 8*3600))},
	}
	for _, c := range []struct {
		what, zone string
		reg        registry.Registration
	}{{"all there is", "zone-a", full}, {"nothing", "", registry.Registration{App: app}}} {
		annotations, err := encodeRegistration(c.reg, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s of %s:\n%s\n%s:\n%s\n", AnnotationMetadata, c.what, annotations[AnnotationMetadata], AnnotationInstance, annotations[AnnotationInstance])
		if s := parseMetadata(annotations[AnnotationMetadata]); s.problem != "" || len(s.metadata) != len(c.reg.Metadata) {
			t.Errorf("%s is read back as %+v", c.what, s)
		}
	}
	const file = "testdata/written.golden"
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got:\n%s\nwant (%s):\n%s", out.Bytes(), file, want)
	}
}
