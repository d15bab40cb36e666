package httpmw_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// away is a registry whose server cannot be reached.
type away struct {
	registry.Discoverer
	subscribed atomic.Int64
}

func (a *away) Subscribe(registry.App, func(registry.Snapshot)) (stop func(), err error) {
	a.subscribed.Add(1)
	return func() { a.subscribed.Add(-1) }, nil
}

func (*away) Snapshot(ctx context.Context, _ registry.App) (registry.Snapshot, error) {
	<-ctx.Done()
	return registry.Snapshot{}, ctx.Err()
}

// Calls that have no end of their own must not hang, nor fail, because a registry is
// away: the host's name is good without it.
func TestCallsGoOnWithoutTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit, err := sdk.Start(t.Context(), sdk.Config{App: "shop/storefront", StateDir: sdk.Off, Getenv: func(string) string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		defer kit.Close(t.Context())
		server := memhttp.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
		tr := server.Transport()
		defer tr.CloseIdleConnections()
		reg := new(away)
		client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(tr), httpmw.Discover(reg))}
		begin := time.Now()
		for range 20 {
			if a := mustGet(t, client, "http://cart.shop/x"); a.body != "cart.shop" {
				t.Fatalf("answered %+v", a)
			}
		}
		if waited := time.Since(begin); waited > 5*time.Second { // by the bubble's clock
			t.Errorf("twenty calls waited %s for the registry", waited)
		}
		// Hosts that somebody else makes up are not watched for ever.
		for i := range 3000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://hook%d.example/x", i), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
			}
			cancel()
		}
		if n := reg.subscribed.Load(); n > 1000 {
			t.Errorf("%d applications are watched", n)
		}
	})
}
