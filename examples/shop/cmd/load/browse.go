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
// and nothing of a mesh. In a shop with a catalogue every second look is at an
// article.
type browser struct {
	base     string
	articles bool
	http     *http.Client
	pace     *pace.Pace
	log      *slog.Logger
	calls    *tally.Calls

	degraded atomic.Int64
}

func (b *browser) look(n int64, due time.Time) {
	done := b.calls.Begin()
	o := tally.Outcome{Method: "cart", Address: b.base}
	var err error
	if b.articles && n%2 == 1 {
		var article storefront.Article
		o.Method = "article"
		o.Class, err = b.get(due, "/article/"+articles[n/2%int64(len(articles))], &article)
		o.Instance, o.Via = article.ServedBy, article.StockBy
	} else {
		var cart storefront.Cart
		o.Class, err = b.get(due, fmt.Sprintf("/cart/%d", n%1000), &cart)
		o.Instance = cart.ServedBy
		if cart.Degraded {
			b.degraded.Add(1)
		}
	}
	if err != nil {
		o.Error = err.Error()
		b.log.Warn("could not be looked at", "what", o.Method, "error", err)
	}
	done(o)
}

// get reads a page. Not under the context that ends the program: what has begun
// is finished.
func (b *browser) get(due time.Time, path string, into any) (class string, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(b.http.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.base+path, nil)
	if err != nil {
		return "address", err
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return "broken", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode), fmt.Errorf("GET %s: %s", req.URL, resp.Status)
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(into); err != nil {
		return "body", err
	}
	return "", nil
}

// show is what the browser adds to /stats.
func (b *browser) show() map[string]any {
	s := b.calls.Stats()
	return map[string]any{
		"target": b.pace.PerSecond, "rate": s.Rate(time.Now(), 5), "shed": b.pace.Shed(),
		"ok": s.OK, "failed": s.Failed, "byClass": s.ByClass, "degraded": b.degraded.Load(), "failures": s.Failures,
	}
}
