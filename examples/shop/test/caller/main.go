// Caller makes one call to the shop and prints what came of it as JSON: what a
// program of somebody else's would see. It is a program so that the tests
// themselves can run under the race detector, which finds races in dubbo-go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"github.com/prometheus/client_golang/prometheus"

	"shop.example/api/inventory"
	"shop.example/api/orders"
	"shop.example/internal/fault"
	"shop.example/internal/rpc"
	"shop.example/internal/tally"
)

// Result is what is printed.
type Result struct {
	Answer any    `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"`
	Class  string `json:"class,omitempty"` // of the failure
	// Code is Triple's code of the failure, Exception the Java class of one.
	Code      string `json:"code,omitempty"`
	Exception string `json:"exception,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	url := flag.String("url", "", "`address` to call")
	method := flag.String("method", "", "`method` to call")
	sku := flag.String("sku", "", "`article`")
	count := flag.Int("count", 0, "`pieces`")
	flag.Parse()

	ins, err := rpc.New(rpc.Config{App: "caller", Registry: rpc.Direct, Log: slog.New(slog.DiscardHandler), Observer: &rpc.Observer{
		Served: tally.NewCalls(time.Now, nil), Attempts: tally.NewCalls(time.Now, nil),
		Providers: tally.NewProviders(time.Now), Metrics: tally.NewMetrics(prometheus.NewRegistry()),
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := call(ctx, ins.NewClient, *url, *method, *sku, int32(*count))
	result := Result{Answer: answer}
	if err != nil {
		result = Result{Error: err.Error(), Class: string(fault.Of(err))}
		if triple_protocol.IsWireError(err) {
			result.Code = triple_protocol.CodeOf(err).String()
		}
		var thrown *hessian2.GenericException
		if errors.As(err, &thrown) {
			result.Exception = thrown.ExceptionClass
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func call(ctx context.Context, newClient func(...client.ClientOption) (*client.Client, error), url, method, sku string, count int32) (any, error) {
	switch method {
	case orders.MethodPlaceOrder, orders.MethodGetAvailability:
		cli, err := newClient()
		if err != nil {
			return nil, err
		}
		shop, err := orders.NewClient(cli, client.WithURL(url))
		if err != nil {
			return nil, err
		}
		if method == orders.MethodGetAvailability {
			return shop.GetAvailability(ctx, &orders.GetAvailabilityRequest{Sku: sku})
		}
		return shop.PlaceOrder(ctx, &orders.PlaceOrderRequest{
			Sku: sku, Count: count, Customer: &orders.Customer{Id: "c1", Name: "Ada"},
		}, client.WithCallRetries(0))
	case inventory.MethodReserve, inventory.MethodStock:
		cli, err := newClient(client.WithClientProtocolDubbo(), client.WithClientSerialization(constant.Hessian2Serialization))
		if err != nil {
			return nil, err
		}
		conn, err := cli.Dial(inventory.Interface, client.WithURL(url))
		if err != nil {
			return nil, err
		}
		stock := inventory.NewClient(conn)
		if method == inventory.MethodStock {
			return stock.Stock(ctx, sku, client.WithCallRetries(0))
		}
		return stock.Reserve(ctx, sku, count, &inventory.Buyer{ID: "c1", Name: "Ada"}, client.WithCallRetries(0))
	}
	return nil, fmt.Errorf("no method %q", method)
}
