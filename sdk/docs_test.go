package sdk_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/sdktest"
)

// TestGuideIsComplete holds that docs/sdk.md names every field of Config and every
// metric.
func TestGuideIsComplete(t *testing.T) {
	text, err := os.ReadFile("../docs/sdk.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := string(text)
	for f := range reflect.TypeFor[sdk.Config]().Fields() {
		if f.Name != "Getenv" && !strings.Contains(guide, "| `"+f.Name+"` |") {
			t.Errorf("docs/sdk.md: the field %s is missing in the table of configuration", f.Name)
		}
	}
	var metrics strings.Builder
	if err := sdktest.Start(t).Kit(t, "shop/orders").Metrics(&metrics); err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE weir_sdk_([a-z_]+)`).FindAllStringSubmatch(metrics.String(), -1) {
		name := m[1]
		_, last, _ := strings.Cut(name, "_") // reports_failures_total stands as …_failures_total
		if !strings.Contains(guide, "weir_sdk_"+name) && !strings.Contains(guide, "…_"+last) {
			t.Errorf("docs/sdk.md: the metric weir_sdk_%s is missing", name)
		}
	}
}
