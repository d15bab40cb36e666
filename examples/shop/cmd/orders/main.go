// Orders takes orders over Triple (org.example.shop.OrderService) and reserves
// their articles at inventory over Dubbo.
package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"

	"shop.example/api/inventory"
	"shop.example/api/orders"
	"shop.example/internal/ordering"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
)

func main() {
	process.Main("orders", "orders serves "+orders.Interface+" over Triple and calls "+inventory.Interface+" over Dubbo.",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":20001", "`host:port` for Triple calls")
			probe := fs.Int("probe-port", 22222, "`port` of dubbo-go's own probes")
			addresses := fs.String("inventory", "", "`addresses` of inventory under -registry direct, such as dubbo://127.0.0.1:20000, commas between")
			timeout := fs.Duration("inventory-timeout", 2*time.Second, "`how long` one call to inventory may take")
			patience := fs.Duration("inventory-patience", 4*time.Second, "`how long` to look for an inventory that can be reached")
			return func(ctx context.Context, p *process.Process) error {
				cfg := p.RPC()
				cfg.Protocol, cfg.Listen, cfg.ProbePort = constant.TriProtocol, *listen, *probe
				ins, err := rpc.New(cfg)
				if err != nil {
					return err
				}
				to, err := rpc.To(ctx, p.Registry, "inventory", *addresses)
				if err != nil {
					return err
				}
				cli, err := ins.NewClient(client.WithClientProtocolDubbo(), client.WithClientSerialization(constant.Hessian2Serialization),
					client.WithClientRequestTimeout(*timeout), client.WithClientNoCheck(), rpc.ClientFilter())
				if err != nil {
					return err
				}
				conn, err := rpc.Dial(func() (*client.Connection, error) { return cli.Dial(inventory.Interface, to...) })
				if err != nil {
					return fmt.Errorf("inventory: %w", err)
				}
				srv, err := ins.NewServer(rpc.ServerFilter())
				if err != nil {
					return err
				}
				if err := orders.Register(srv, &ordering.Service{
					Instance: p.Instance, Inventory: inventory.NewClient(conn), Made: p.Made,
					Timeout: *timeout, Patience: *patience,
				}); err != nil {
					return err
				}
				p.ReadyWhen(rpc.Registered)
				return rpc.Serve(ctx, srv)
			}
		})
}
