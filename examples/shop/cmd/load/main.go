// Load places orders at a steady rate and tells how many were answered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"

	"shop.example/api/orders"
	"shop.example/internal/fault"
	"shop.example/internal/pace"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
	"shop.example/internal/tally"
)

func main() {
	process.Main("load", "load calls "+orders.Interface+" at a steady rate, however slow the answers are.",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			addresses := fs.String("orders", "", "`addresses` of orders under -registry direct, such as tri://127.0.0.1:20001, commas between")
			rate := fs.Float64("rate", 20, "orders per `second`")
			concurrency := fs.Int("concurrency", 200, "the `most` orders under way; one that is due beyond them is not placed, and counted as shed")
			timeout := fs.Duration("timeout", 10*time.Second, "`how long` an order may take in all")
			front := fs.String("storefront", "", "`address` of the storefront, perhaps behind a gateway, such as http://127.0.0.1:8080/shop; empty to place orders only")
			browse := fs.Float64("browse-rate", 5, "pages looked at per `second`, if there is a storefront")
			knows := fs.String("catalogue", "", "`application` that the storefront asks for articles; without one only carts are looked at")
			report := fs.Duration("report", 5*time.Second, "`how often` to print a line")
			return func(ctx context.Context, p *process.Process) error {
				if *rate <= 0 || *browse <= 0 || *concurrency < 1 {
					return errors.New("-rate, -browse-rate and -concurrency must be above 0")
				}
				ins, err := rpc.New(p.RPC())
				if err != nil {
					return err
				}
				to, err := rpc.To(ctx, p.Registry, "orders", *addresses)
				if err != nil {
					return err
				}
				cli, err := ins.NewClient(client.WithClientProtocolTriple(), client.WithClientRequestTimeout(*timeout),
					client.WithClientNoCheck(), rpc.ClientFilter())
				if err != nil {
					return err
				}
				shop, err := rpc.Dial(func() (*orders.Client, error) { return orders.NewClient(cli, to...) })
				if err != nil {
					return fmt.Errorf("orders: %w", err)
				}
				l := &load{process: p, orders: shop, timeout: *timeout, pace: &pace.Pace{PerSecond: *rate, Concurrency: *concurrency}}
				p.Show(l.show)
				p.ReadyWhen(func(context.Context) error { return nil })
				var browsing sync.WaitGroup
				if *front != "" {
					l.browser = &browser{
						base: *front, articles: *knows != "", pace: &pace.Pace{PerSecond: *browse, Concurrency: *concurrency}, log: p.Log,
						http:  &http.Client{Timeout: *timeout, Transport: &http.Transport{MaxIdleConnsPerHost: *concurrency}},
						calls: tally.NewCalls(time.Now, nil),
					}
					browsing.Go(func() { l.browser.pace.Run(ctx, l.browser.look) })
				}
				go l.report(ctx, *report)
				l.pace.Run(ctx, l.order)
				browsing.Wait()
				l.line()
				return nil
			}
		})
}

type load struct {
	process *process.Process
	orders  *orders.Client
	timeout time.Duration
	pace    *pace.Pace
	browser *browser // nil without a storefront
}

var articles = []string{"book", "lamp", "mug", "pen"}

// order places one order. The time it had waited to be placed counts against it.
func (l *load) order(n int64, due time.Time) {
	// Not the context that ends the program: what has begun is finished.
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(l.timeout))
	defer cancel()
	req := &orders.PlaceOrderRequest{
		Sku: articles[n%int64(len(articles))], Count: 1,
		Customer: &orders.Customer{Id: fmt.Sprint("c", n%1000), Name: "load"},
	}
	ctx, trail := tally.WithTrail(ctx)
	done := l.process.Made.Begin()
	var resp *orders.PlaceOrderResponse
	tries, err := fault.Again(ctx, 50*time.Millisecond, func(ctx context.Context) (err error) {
		// No retries by dubbo-go: an order that may have been placed must not be
		// placed again.
		resp, err = l.orders.PlaceOrder(ctx, req, client.WithCallRetries(0))
		if err == nil && resp.GetServedBy() == "" {
			err = errors.New("orders answered with nothing")
		}
		return err
	})
	o := tally.Outcome{Method: orders.MethodPlaceOrder, Address: trail.Address, Attempts: tries, Class: string(fault.Of(err))}
	if err != nil {
		o.Error = err.Error()
		l.process.Log.Warn("order failed", "class", o.Class, "tries", tries, "error", err)
	} else {
		o.Instance, o.Via = resp.GetServedBy(), resp.GetInventoryServedBy()
	}
	done(o)
}

// report prints a line at each interval until ctx ends.
func (l *load) report(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.line()
		}
	}
}

func (l *load) line() {
	s := l.process.Made.Stats()
	attrs := []any{
		"rate", fmt.Sprintf("%.1f/s", s.Rate(time.Now(), 5)), "ok", s.OK, "failed", s.Failed,
		"inFlight", s.InFlight, "shed", l.pace.Shed(), "repeated", s.Attempts - s.OK - s.Failed,
	}
	for _, class := range slices.Sorted(maps.Keys(s.ByClass)) {
		attrs = append(attrs, class, s.ByClass[class])
	}
	l.process.Log.Info("orders placed", attrs...)
}

// show is what load adds to /stats.
func (l *load) show() map[string]any {
	now := time.Now()
	s := l.process.Made.Stats()
	shown := map[string]any{"load": map[string]any{
		"target":  l.pace.PerSecond,
		"rate":    s.Rate(now, 5),
		"started": l.pace.Started(),
		"shed":    l.pace.Shed(),
		"ok":      s.OK,
		"failed":  s.Failed,
	}}
	if l.browser != nil {
		shown["browse"] = l.browser.show()
	}
	return shown
}
