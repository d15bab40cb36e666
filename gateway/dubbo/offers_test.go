package dubbo

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/weirmesh/weir/registry"
)

func TestAnInstanceTellsWhatItOffers(t *testing.T) {
	provider := startProvider(t, "told", nil)
	at := func(port int, protocol string) *registry.Instance {
		return &registry.Instance{
			ID: "i", Host: netip.MustParseAddr("127.0.0.1"), Revision: "r1",
			Metadata: map[string]string{registry.KeyMetadataService: `{"port":"` + strconv.Itoa(port) + `","protocol":"` + protocol + `"}`},
		}
	}
	app := registry.App{Namespace: "shop", Name: "inventory"}
	got, err := AskOffers(t.Context(), app, at(provider.port(), "dubbo"))
	if err != nil || !strings.Contains(string(got), "told") {
		t.Errorf("%s, %v", got, err)
	}
	for _, part := range []string{metadataService, "getMetadataInfo", "Ljava/lang/String;", "r1", "inventory"} {
		if !strings.Contains(provider.request(), part) {
			t.Errorf("%q is missing in the call %q", part, provider.request())
		}
	}
	if _, err := AskOffers(t.Context(), app, at(provider.port(), "tri")); err == nil || !strings.Contains(err.Error(), "speaks tri") {
		t.Errorf("over Triple: %v", err)
	}
	if _, err := AskOffers(t.Context(), app, &registry.Instance{}); err == nil || !strings.Contains(err.Error(), "no metadata service") {
		t.Errorf("of one without: %v", err)
	}
	provider.close()
	if _, err := AskOffers(t.Context(), app, at(provider.port(), "dubbo")); err == nil || !strings.Contains(err.Error(), "cannot be called") {
		t.Errorf("of one that is gone: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := AskOffers(ended, app, at(provider.port(), "dubbo")); err == nil {
		t.Error("it succeeds though it was ended")
	}
}
