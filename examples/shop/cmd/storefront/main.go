// Storefront is the shop's web front: it serves carts over HTTP, asks pricing
// over HTTP and orders over Triple.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"

	"github.com/weirmesh/weir/sdk/httpmw"

	"shop.example/api/orders"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
	"shop.example/internal/storefront"
)

func main() {
	process.Main("storefront", "storefront serves GET /cart/{id} and POST /cart/{id}/order, and calls pricing and "+orders.Interface+".",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":8080", "`host:port` for HTTP requests")
			prices := fs.String("pricing", "http://pricing.shop.svc:8080", "`address` of pricing")
			addresses := fs.String("orders", "", "`addresses` of orders under -registry direct, such as tri://127.0.0.1:20001, commas between")
			timeout := fs.Duration("timeout", 3*time.Second, "`how long` one call to orders or pricing may take")
			return func(ctx context.Context, p *process.Process) error {
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
				s := &storefront.Service{
					Instance: p.Instance, Orders: shop, Pricing: *prices,
					HTTP: &http.Client{Timeout: *timeout, Transport: httpmw.Client(p.Kit, httpmw.Patterns("GET /prices/{sku}"))},
				}
				defer func() {
					if err := rpc.Leave(); err != nil {
						p.Log.Warn("calls were cut off", "error", err)
					}
				}()
				return p.ServeHTTP(ctx, *listen, s.Handler())
			}
		})
}
