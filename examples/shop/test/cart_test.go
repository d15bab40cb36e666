package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"shop.example/api/pricing"
	"shop.example/internal/storefront"
)

// read reads a JSON document.
func read(t *testing.T, method, url, body string, into any) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s", method, url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// Both builds of pricing tell prices, fall back to yesterday's when their
// supplier fails, and the storefront says that a cart holds such a price.
func TestCartsHoldYesterdaysPricesWhenTheSupplierFails(t *testing.T) {
	s := open(t)
	for _, build := range []string{"pricing", "pricing-same"} {
		t.Run(build, func(t *testing.T) {
			at, front := freeAddress(t), freeAddress(t)
			prices := start(t, build, build+"-1", "-listen", at)
			store := start(t, "storefront", "storefront-1", "-listen", front, "-orders", "tri://"+s.addressOf, "-pricing", "http://"+at)
			prices.waitReady(t)
			store.waitReady(t)
			cart := func() (c storefront.Cart) {
				t.Helper()
				if err := read(t, http.MethodGet, "http://"+front+"/cart/42", "", &c); err != nil {
					t.Fatal(err)
				}
				return c
			}
			if c := cart(); c.Degraded || len(c.Items) != 2 || c.Items[0].Cents == nil || c.Items[0].Available == nil {
				t.Errorf("a cart while all is well: %+v", c)
			}
			var turned map[string]any
			if err := read(t, http.MethodPut, "http://"+prices.admin+"/knobs", `{"quote": {"errorPercent": 100}}`, &turned); err != nil {
				t.Fatal(err)
			}
			if c := cart(); !c.Degraded || c.Items[0].Cents == nil {
				t.Errorf("a cart while the supplier fails: %+v", c)
			}
			var p pricing.Price
			if err := read(t, http.MethodGet, "http://"+at+"/prices/book", "", &p); err != nil || !p.Stale || p.Guard == "" {
				t.Errorf("a price while the supplier fails: %+v, %v", p, err)
			}
			store.stop(t)
			prices.stop(t)
		})
	}
}
