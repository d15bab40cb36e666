package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// cart is what the storefront answers.
type cart struct {
	ID    string `json:"id"`
	Items []struct {
		Sku       string `json:"sku"`
		Cents     *int64 `json:"cents"`
		Available *int32 `json:"available"`
	} `json:"items"`
	Degraded bool     `json:"degraded"`
	Missing  []string `json:"missing"`
	ServedBy string   `json:"servedBy"`
}

// The second flow: requests through the gateway reach a service over HTTP, one
// over Dubbo and Hessian2, and one over Triple.
func TestGatewayReachesHTTPAndDubboServices(t *testing.T) {
	openShop(t)
	mesh.Eventually(t, "a cart is whole", func() error {
		var c cart
		a := theMesh.through(t, http.MethodGet, "/shop/cart/42", "")
		if a.status != http.StatusOK {
			return fmt.Errorf("%s", a)
		}
		a.into(t, &c)
		if c.ID != "42" || c.Degraded || len(c.Items) != 2 || c.Items[0].Cents == nil || c.Items[0].Available == nil {
			return fmt.Errorf("%s", a)
		}
		return nil
	})

	var reservation struct {
		ID        string
		Sku       string
		Count     int
		Reserved  bool
		Remaining int
		Buyer     struct{ ID, Name string }
		ServedBy  string
	}
	a := theMesh.through(t, http.MethodPost, "/shop/stock/book/reserve", `{"count": 2, "buyer": {"id": "7", "name": "Ada"}}`)
	if a.status != http.StatusOK {
		t.Fatalf("reserve: %s", a)
	}
	a.into(t, &reservation)
	if !reservation.Reserved || reservation.Sku != "book" || reservation.Count != 2 || reservation.Buyer.Name != "Ada" || reservation.ServedBy == "" {
		t.Errorf("reserve: %s", a)
	}
	if strings.Contains(string(a.body), "org.example") {
		t.Errorf("the answer names Java classes: %s", a)
	}
	if a := theMesh.through(t, http.MethodGet, "/shop/stock/book", ""); a.status != http.StatusOK || !strings.Contains(string(a.body), `"available":`) {
		t.Errorf("stock: %s", a)
	}
	if a := theMesh.through(t, http.MethodPost, "/shop/orders", `{"sku": "lamp", "count": 1, "customer": {"id": "7"}}`); a.status != http.StatusOK || !strings.Contains(string(a.body), `"accepted":true`) {
		t.Errorf("order: %s", a)
	}
	if a := theMesh.through(t, http.MethodGet, "/shop/availability/mug", ""); a.status != http.StatusOK || !strings.Contains(string(a.body), `"mug"`) {
		t.Errorf("availability: %s", a)
	}

	// What cannot be answered well says why, in terms of the request.
	theMesh.through(t, http.MethodPost, "/shop/stock/book/reserve", `{"count": "many"}`).problem(t, http.StatusBadRequest, "count", "int")
	theMesh.through(t, http.MethodPost, "/shop/stock/book/reserve", `{`).problem(t, http.StatusBadRequest)
	theMesh.through(t, http.MethodGet, "/shop/stock/anvil", "").problem(t, http.StatusUnprocessableEntity, "UnknownSkuException", "anvil")
	theMesh.through(t, http.MethodPost, "/shop/stock/book/reserve", strings.Repeat("x", 100<<20)).problem(t, http.StatusRequestEntityTooLarge)
	theMesh.through(t, http.MethodGet, "/nobody/here", "").problem(t, http.StatusNotFound)
}

// A route is live for the first request after the write was answered, changes
// under load without a failed request, and a bad one changes nothing.
func TestRoutesAreLiveWhenTheWriteIsAnswered(t *testing.T) {
	openShop(t)
	dir := t.TempDir()
	write := func(strip int) string {
		path := filepath.Join(dir, "route.yaml")
		text := fmt.Sprintf("namespace: shop\nname: e2e\nmatch: {path: \"/e2e/x/{rest...}\"}\nfilters: [{stripPrefix: %d}]\nupstream: {app: shop/storefront}\n", strip)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	apply := func(strip int) {
		t.Helper()
		theMesh.Ask(t, "route", "apply", "-f", write(strip), "--reason", "end-to-end test", "--wait", "30s")
	}
	apply(2)
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		if _, err := theMesh.TryAsk(ctx, "route", "delete", "shop/e2e", "--reason", "end-to-end test", "--wait", "30s"); err != nil {
			t.Error(err)
		}
		if a, err := request(ctx, http.MethodGet, "http://"+theMesh.Gateway+"/e2e/x/cart/1", ""); err != nil || a.status != http.StatusNotFound {
			t.Errorf("after the route was deleted: %v %s", err, a)
		}
	})
	if a := theMesh.through(t, http.MethodGet, "/e2e/x/cart/1", ""); a.status != http.StatusOK {
		t.Fatalf("right after the write: %s", a)
	}

	// Under load the route is written again and again; both forms serve.
	var asked, failed atomic.Int64
	var first sync.Once
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				a, err := request(t.Context(), http.MethodGet, "http://"+theMesh.Gateway+"/e2e/x/cart/1", "")
				if err != nil || a.status != http.StatusOK {
					failed.Add(1)
					first.Do(func() { t.Errorf("while routes are written: %v %s", err, a) })
				}
			}
		})
	}
	for i := range 10 {
		name := fmt.Sprintf("e2e-%d", i)
		text := fmt.Sprintf("namespace: shop\nname: %s\nmatch: {path: \"/e2e/x/cart/{id}\", method: GET}\npriority: %d\nfilters: [{stripPrefix: 2}]\nupstream: {app: shop/storefront}\n", name, i)
		path := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		theMesh.Ask(t, "route", "apply", "-f", path, "--reason", "end-to-end test", "--wait", "30s")
		theMesh.Ask(t, "route", "delete", "shop/"+name, "--reason", "end-to-end test")
	}
	close(stop)
	load.Wait()
	if failed.Load() != 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed while routes were written", failed.Load(), asked.Load())
	}

	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("namespace: shop\nname: e2e\nmatch: {path: \"/e2e/{a}/{a}\"}\nupstream: {app: shop/storefront, url: http://x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := theMesh.TryAsk(t.Context(), "route", "apply", "-f", bad, "--reason", "end-to-end test"); err == nil {
		t.Errorf("a bad route was taken: %s", out)
	} else if !strings.Contains(err.Error(), "upstream") {
		t.Errorf("the refusal does not say what is wrong: %v", err)
	}
	if a := theMesh.through(t, http.MethodGet, "/e2e/x/cart/1", ""); a.status != http.StatusOK {
		t.Errorf("after the bad write: %s", a)
	}
	if out := theMesh.Ask(t, "route", "explain", "GET", "http://any/e2e/x/cart/1"); !strings.Contains(out, "shop/e2e") {
		t.Errorf("explain: %s", out)
	}
}
