package httpmw_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// In a cluster the registry is that of Kubernetes: kube.Open(ctx, kube.Config{App:
// "storefront"}). Here it is one in memory, which knows one instance of shop/cart.
func ExampleDiscover() {
	ctx := context.Background()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "cart 42, asked of %s", r.Host)
	}))
	defer pod.Close()
	at := netip.MustParseAddrPort(pod.Listener.Addr().String())
	app := registry.App{Namespace: "shop", Name: "cart"}
	world := memory.New()
	world.PutService(app, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: at.Port()}}})
	world.PutInstance(app, registry.Instance{ID: "5f1c", Name: "cart-7d9", Host: at.Addr()})
	reg := world.Join(memory.Config{})
	defer reg.Close()

	kit, err := sdk.Start(ctx, sdk.Config{App: "shop/storefront", StateDir: sdk.Off})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer kit.Close(ctx)
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Discover(reg))}
	defer client.CloseIdleConnections()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://cart.shop/42", http.NoBody)
	if err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(body), err)
	// Output: 200 cart 42, asked of cart.shop <nil>
}
