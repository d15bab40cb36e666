// Inventory keeps the shop's stock and serves org.example.shop.InventoryService
// over the Dubbo protocol with Hessian2, and over Triple where that is asked for.
package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/server"

	"shop.example/api/inventory"
	"shop.example/internal/knob"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
	"shop.example/internal/warehouse"
)

func main() {
	process.Main("inventory", "inventory keeps the shop's stock and serves "+inventory.Interface+" over Dubbo.",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":20000", "`host:port` for Dubbo calls")
			triple := fs.String("triple-listen", "", "`host:port` for Triple calls beside them; none without")
			probe := fs.Int("probe-port", 22222, "`port` of dubbo-go's own probes")
			pieces := fs.Int("pieces", 100000, "`pieces` of each article on the shelf at start")
			hold := fs.Duration("hold", time.Minute, "`how long` a reservation lasts before its pieces go back")
			work := fs.Duration("work", 5*time.Millisecond, "`how long` a reservation takes, as if a database were behind it")
			return func(ctx context.Context, p *process.Process) error {
				cfg := p.RPC()
				cfg.Protocol, cfg.Listen, cfg.Triple, cfg.ProbePort = constant.DubboProtocol, *listen, *triple, *probe
				ins, err := rpc.New(cfg)
				if err != nil {
					return err
				}
				srv, err := ins.NewServer(rpc.ServerFilter())
				if err != nil {
					return err
				}
				stock := map[string]int32{}
				for _, article := range []string{"book", "lamp", "mug", "pen"} {
					stock[article] = int32(*pieces)
				}
				p.Knobs = knob.NewBoard(time.Now, inventory.MethodReserve, inventory.MethodStock)
				service := &Service{
					knobs:    p.Knobs,
					instance: p.Instance,
					work:     *work,
					stock:    warehouse.New(p.Instance, stock, *hold, time.Now),
				}
				if err := srv.RegisterService(service, server.WithInterface(inventory.Interface)); err != nil {
					return err
				}
				p.ReadyWhen(rpc.Registered)
				return rpc.Serve(ctx, srv)
			}
		})
}

// Service answers the calls. It is exported, as are its methods, since dubbo-go
// finds them by reflection; callers know them as reserve and stock.
type Service struct {
	instance string
	knobs    *knob.Board
	work     time.Duration
	stock    *warehouse.Warehouse
}

// Reserve takes pieces of an article off the shelf for a buyer.
func (s *Service) Reserve(ctx context.Context, sku string, count int32, buyer *inventory.Buyer) (*inventory.Reservation, error) {
	if err := s.knobs.Feel(ctx, inventory.MethodReserve); err != nil {
		return nil, err
	}
	if s.work > 0 {
		timer := time.NewTimer(s.work)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r, err := s.stock.Reserve(sku, count)
	if err != nil {
		return nil, exception(sku, err)
	}
	return &inventory.Reservation{
		ID: r.ID, Sku: sku, Count: count, Reserved: r.Reserved, Remaining: r.Remaining,
		Buyer: buyer, Expires: r.Expires, ServedBy: s.instance,
	}, nil
}

// Stock tells how much there is of an article.
func (s *Service) Stock(ctx context.Context, sku string) (*inventory.Stock, error) {
	if err := s.knobs.Feel(ctx, inventory.MethodStock); err != nil {
		return nil, err
	}
	available, reserved, err := s.stock.Stock(sku)
	if err != nil {
		return nil, exception(sku, err)
	}
	return &inventory.Stock{Sku: sku, Available: available, Reserved: reserved, ServedBy: s.instance}, nil
}

// exception turns an error into what callers in any language can tell apart.
func exception(sku string, err error) error {
	if errors.Is(err, warehouse.ErrUnknownArticle) {
		return inventory.NewUnknownSku(sku)
	}
	return err
}
