// Storefront is the shop's web front: it serves carts over HTTP, asks pricing
// over HTTP and orders over Triple.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"

	"dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"github.com/weirmesh/weir/sdk/httpmw"

	"shop.example/api/catalogue"
	"shop.example/api/orders"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
	"shop.example/internal/storefront"
)

func main() {
	process.Main("storefront", "storefront serves GET /cart/{id}, POST /cart/{id}/order and GET /article/{sku}, and calls pricing and "+orders.Interface+".",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":8080", "`host:port` for HTTP requests")
			prices := fs.String("pricing", "http://pricing.shop.svc:8080", "`address` of pricing")
			addresses := fs.String("orders", "", "`addresses` of orders under -registry direct, such as tri://127.0.0.1:20001, commas between")
			articles := fs.String("catalogue", "", "`application` that provides "+catalogue.Interface+", such as catalogue; without one GET /article/{sku} answers 404")
			delivery := fs.String("delivery", "", "`address` of delivery, such as http://delivery.shop.svc:8080; without one articles have no day of delivery")
			timeout := fs.Duration("timeout", 3*time.Second, "`how long` one call to another service may take")
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
					Instance: p.Instance, Orders: shop, Pricing: *prices, Delivery: *delivery,
					HTTP: &http.Client{Timeout: *timeout, Transport: httpmw.Client(p.Kit, httpmw.Patterns("GET /prices/{sku}", "GET /delivery/{sku}"))},
				}
				if *articles != "" {
					if s.Catalogue, err = dialCatalogue(ins, *articles, *timeout); err != nil {
						return err
					}
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

// dialCatalogue refers to the catalogue, which is written in Java: nothing says
// that its application offers the interface, so it is named.
func dialCatalogue(ins *dubbo.Instance, app string, timeout time.Duration) (*catalogue.Client, error) {
	cli, err := ins.NewClient(client.WithClientProtocolDubbo(), client.WithClientSerialization(constant.Hessian2Serialization),
		client.WithClientRequestTimeout(timeout), client.WithClientNoCheck(), rpc.ClientFilter())
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	conn, err := rpc.Dial(func() (*client.Connection, error) {
		return cli.Dial(catalogue.Interface, client.WithProvidedBy(app))
	})
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	return catalogue.NewClient(conn), nil
}
