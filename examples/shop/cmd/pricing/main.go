// Pricing tells what articles cost, over HTTP. Its question to the supplier is
// guarded by hystrix-go; built with -tags samefunctions, by Weir's package of
// the same functions.
package main

import (
	"context"
	"flag"
	"time"

	"shop.example/internal/knob"
	"shop.example/internal/pricing"
	"shop.example/internal/process"
)

func main() {
	process.Main("pricing", "pricing serves GET /prices/{sku}.",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":8080", "`host:port` for HTTP requests")
			work := fs.Duration("work", 2*time.Millisecond, "`how long` the supplier takes for a quote")
			return func(ctx context.Context, p *process.Process) error {
				pricing.Join(p.Kit)
				p.Knobs = knob.NewBoard(time.Now, pricing.Operation)
				s := &pricing.Service{Instance: p.Instance, Knobs: p.Knobs, Work: *work}
				return p.ServeHTTP(ctx, *listen, s.Handler())
			}
		})
}
