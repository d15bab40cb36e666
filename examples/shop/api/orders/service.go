// Package orders is what orders and its callers share: the messages made from
// orders.proto, and the binding of its service to dubbo-go's Triple.
package orders

//go:generate sh -c "protoc -I . --plugin=protoc-gen-go=$DOLLAR(go tool -n protoc-gen-go) --go_out=. --go_opt=paths=source_relative orders.proto"

import (
	"context"
	"fmt"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	"dubbo.apache.org/dubbo-go/v3/server"
)

// Interface is the Triple interface that orders provides: the full name of the
// service in orders.proto.
const Interface = "org.example.shop.OrderService"

// Methods of Interface, as they are called on the wire.
const (
	MethodPlaceOrder      = "PlaceOrder"
	MethodGetAvailability = "GetAvailability"
)

// Handler serves Interface.
type Handler interface {
	PlaceOrder(context.Context, *PlaceOrderRequest) (*PlaceOrderResponse, error)
	GetAvailability(context.Context, *GetAvailabilityRequest) (*GetAvailabilityResponse, error)
}

// Register adds a handler to a server that has not been started.
func Register(srv *server.Server, h Handler, opts ...server.ServiceOption) error {
	return srv.Register(h, serviceInfo(), opts...)
}

// Client calls orders. It is safe for concurrent use.
type Client struct {
	conn *client.Connection
}

// NewClient refers to Interface and returns a Client of it.
func NewClient(cli *client.Client, opts ...client.ReferenceOption) (*Client, error) {
	conn, err := cli.DialWithInfo(Interface, &client.ClientInfo{
		InterfaceName: Interface,
		MethodNames:   []string{MethodPlaceOrder, MethodGetAvailability},
		ConnectionInjectFunc: func(c any, conn *client.Connection) {
			if c, ok := c.(*Client); ok {
				c.conn = conn
			}
		},
	}, opts...)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn}, nil
}

// PlaceOrder places an order. It is not idempotent: each call that arrives
// places an order of its own.
func (c *Client) PlaceOrder(ctx context.Context, req *PlaceOrderRequest, opts ...client.CallOption) (*PlaceOrderResponse, error) {
	resp := new(PlaceOrderResponse)
	if err := c.conn.CallUnary(ctx, []any{req}, resp, MethodPlaceOrder, opts...); err != nil {
		return nil, err
	}
	return resp, nil
}

// GetAvailability tells how much of an article can be ordered.
func (c *Client) GetAvailability(ctx context.Context, req *GetAvailabilityRequest, opts ...client.CallOption) (*GetAvailabilityResponse, error) {
	resp := new(GetAvailabilityResponse)
	if err := c.conn.CallUnary(ctx, []any{req}, resp, MethodGetAvailability, opts...); err != nil {
		return nil, err
	}
	return resp, nil
}

// serviceInfo describes Interface to the server. dubbo-go fills the description
// in as it registers, so each registration gets its own.
func serviceInfo() *common.ServiceInfo {
	return &common.ServiceInfo{
		InterfaceName: Interface,
		ServiceType:   (*Handler)(nil),
		Methods: []common.MethodInfo{
			unary(MethodPlaceOrder, Handler.PlaceOrder),
			unary(MethodGetAvailability, Handler.GetAvailability),
		},
	}
}

// unary describes one method by the function of Handler that serves it.
func unary[Req, Resp any](name string, call func(Handler, context.Context, *Req) (*Resp, error)) common.MethodInfo {
	return common.MethodInfo{
		Name:        name,
		Type:        constant.CallUnary,
		ReqInitFunc: func() any { return new(Req) },
		MethodFunc: func(ctx context.Context, args []any, handler any) (any, error) {
			h, serves := handler.(Handler)
			req, fits := args[0].(*Req)
			if !serves || !fits {
				return nil, triple_protocol.NewError(triple_protocol.CodeInternal,
					fmt.Errorf("%s: cannot hand a %T to a %T", name, args[0], handler))
			}
			resp, err := call(h, ctx, req)
			if err != nil {
				return nil, err
			}
			return triple_protocol.NewResponse(resp), nil
		},
	}
}
