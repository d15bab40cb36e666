package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"shop.example/internal/pace"
	"shop.example/internal/storefront"
	"shop.example/internal/tally"
)

// browser looks at carts, as a customer's browser would: it knows one address
// and nothing of a mesh.
type browser struct {
	base  string
	http  *http.Client
	pace  *pace.Pace
	log   *slog.Logger
	calls *tally.Calls

	degraded atomic.Int64
}

func (b *browser) look(n int64, due time.Time) {
	done := b.calls.Begin()
	cart, class, err := b.cart(context.Background(), n, due)
	o := tally.Outcome{Method: "cart", Address: b.base, Class: class}
	if err != nil {
		o.Error = err.Error()
		b.log.Warn("cart could not be looked at", "error", err)
	} else {
		o.Instance = cart.ServedBy
		if cart.Degraded {
			b.degraded.Add(1)
		}
	}
	done(o)
}

func (b *browser) cart(ctx context.Context, n int64, due time.Time) (cart storefront.Cart, class string, err error) {
	ctx, cancel := context.WithDeadline(ctx, due.Add(b.http.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/cart/%d", b.base, n%1000), nil)
	if err != nil {
		return cart, "address", err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return cart, "broken", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return cart, fmt.Sprint(resp.StatusCode), fmt.Errorf("GET %s: %s", req.URL, resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(&cart); err != nil {
		return cart, "body", err
	}
	return cart, "", nil
}

// show is what the browser adds to /stats.
func (b *browser) show() map[string]any {
	s := b.calls.Stats()
	return map[string]any{
		"target": b.pace.PerSecond, "rate": s.Rate(time.Now(), 5), "shed": b.pace.Shed(),
		"ok": s.OK, "failed": s.Failed, "byClass": s.ByClass, "degraded": b.degraded.Load(), "failures": s.Failures,
	}
}
