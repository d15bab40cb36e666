package httpmw_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// BenchmarkClient tells what a call costs beside a plain http.Transport: the
// difference is what guarding, tracing and balancing add.
func BenchmarkClient(b *testing.B) {
	kit, err := sdk.Start(b.Context(), sdk.Config{App: "shop/storefront", StateDir: sdk.Off, SampleRate: -1, Getenv: func(string) string { return "" }})
	if err != nil {
		b.Fatal(err)
	}
	defer kit.Close(b.Context())
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	reg := memory.New()
	reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: at.Port()}}})
	reg.PutInstance(cart, registry.Instance{ID: "i", Host: at.Addr()})
	member := reg.Join(memory.Config{})
	defer member.Close()
	plain := &http.Transport{}
	defer plain.CloseIdleConnections()
	for _, c := range []struct {
		name, url string
		transport http.RoundTripper
	}{
		{"plain", s.URL, plain},
		{"guarded", s.URL, httpmw.Client(kit, httpmw.Over(plain))},
		{"discovered", "http://cart.shop/x", httpmw.Client(kit, httpmw.Over(plain), httpmw.Discover(member))},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := &http.Client{Transport: c.transport}
			defer client.CloseIdleConnections()
			b.ReportAllocs()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, c.url, http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
}
