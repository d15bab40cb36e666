// Package ordering places orders: it reserves stock at inventory and answers
// for the outcome.
package ordering

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	"shop.example/api/inventory"
	"shop.example/api/orders"
	"shop.example/internal/fault"
	"shop.example/internal/tally"
)

// Inventory is what orders needs of inventory.
type Inventory interface {
	Reserve(ctx context.Context, sku string, count int32, buyer *inventory.Buyer, opts ...client.CallOption) (*inventory.Reservation, error)
	Stock(ctx context.Context, sku string, opts ...client.CallOption) (*inventory.Stock, error)
}

// Service serves orders. Its fields must not change once it serves.
type Service struct {
	Instance  string
	Inventory Inventory
	// Made counts the calls to inventory.
	Made *tally.Calls
	// Timeout bounds one attempt, Patience all attempts of one call together.
	Timeout, Patience time.Duration

	placed atomic.Int64
}

// PlaceOrder reserves the article and gives the order a number. A reservation
// that may have been made is never tried again, so that nothing is reserved
// twice; one that provably was not, because nobody could be reached, is.
func (s *Service) PlaceOrder(ctx context.Context, req *orders.PlaceOrderRequest) (*orders.PlaceOrderResponse, error) {
	if req.GetSku() == "" || req.GetCount() < 1 {
		return nil, triple_protocol.NewError(triple_protocol.CodeInvalidArgument,
			errors.New("an order needs an article (sku) and a count of one or more"))
	}
	buyer := &inventory.Buyer{ID: req.GetCustomer().GetId(), Name: req.GetCustomer().GetName()}
	ctx, cancel := context.WithTimeout(onward(ctx), s.Patience)
	defer cancel()

	var r *inventory.Reservation
	ctx, trail := tally.WithTrail(ctx)
	done := s.Made.Begin()
	tries, err := fault.Again(ctx, 50*time.Millisecond, func(ctx context.Context) (err error) {
		// No retries by dubbo-go: it repeats whatever failed, run or not.
		r, err = s.Inventory.Reserve(ctx, req.GetSku(), req.GetCount(), buyer,
			client.WithCallRetries(0), client.WithCallRequestTimeout(s.Timeout))
		if err == nil && r.ServedBy == "" {
			err = errors.New("inventory answered with nothing")
		}
		return err
	})
	outcome := tally.Outcome{Method: inventory.MethodReserve, Address: trail.Address, Attempts: tries, Class: string(fault.Of(err))}
	if err != nil {
		outcome.Error = err.Error()
		done(outcome)
		if outcome.Class == string(fault.Guarded) {
			// Somebody switched reserving off, or inventory is in trouble: orders
			// falls back to saying no, which is an answer and no failure.
			return &orders.PlaceOrderResponse{ServedBy: s.Instance, InventoryAttempts: int32(tries)}, nil
		}
		return nil, s.failure("reserve "+req.GetSku(), err)
	}
	outcome.Instance = r.ServedBy
	done(outcome)

	resp := &orders.PlaceOrderResponse{
		Accepted: r.Reserved, ReservationId: r.ID, Remaining: r.Remaining,
		ServedBy: s.Instance, InventoryServedBy: r.ServedBy, InventoryAttempts: int32(tries),
	}
	if r.Reserved {
		resp.OrderId = fmt.Sprintf("%s-%d", s.Instance, s.placed.Add(1))
	}
	return resp, nil
}

// GetAvailability asks inventory for the stock of an article. The question
// changes nothing, so dubbo-go may ask up to two more instances by itself.
func (s *Service) GetAvailability(ctx context.Context, req *orders.GetAvailabilityRequest) (*orders.GetAvailabilityResponse, error) {
	if req.GetSku() == "" {
		return nil, triple_protocol.NewError(triple_protocol.CodeInvalidArgument, errors.New("which article (sku)?"))
	}
	ctx, trail := tally.WithTrail(onward(ctx))
	done := s.Made.Begin()
	stock, err := s.Inventory.Stock(ctx, req.GetSku(), client.WithCallRetries(2), client.WithCallRequestTimeout(s.Timeout))
	if err == nil && stock.ServedBy == "" {
		err = errors.New("inventory answered with nothing")
	}
	outcome := tally.Outcome{Method: inventory.MethodStock, Address: trail.Address, Class: string(fault.Of(err))}
	if err != nil {
		outcome.Error = err.Error()
		done(outcome)
		return nil, s.failure("stock of "+req.GetSku(), err)
	}
	outcome.Instance = stock.ServedBy
	done(outcome)
	return &orders.GetAvailabilityResponse{
		Sku: stock.Sku, Available: stock.Available, ServedBy: s.Instance, InventoryServedBy: stock.ServedBy,
	}, nil
}

// onward is the context for calls made while serving one. dubbo-go would attach
// what came with the call being served to those, and over their options: our
// caller's timeout and retries would become inventory's.
func onward(ctx context.Context) context.Context {
	return context.WithValue(ctx, constant.AttachmentKey, map[string]any{})
}

// failure words what became of a call to inventory for the callers of orders.
func (s *Service) failure(what string, err error) error {
	class := fault.Of(err)
	code := triple_protocol.CodeUnavailable
	switch class {
	case fault.Business:
		code = triple_protocol.CodeNotFound
	case fault.Timeout:
		code = triple_protocol.CodeDeadlineExceeded
	case fault.Cancelled:
		code = triple_protocol.CodeCanceled
	}
	return triple_protocol.NewError(code, fmt.Errorf("orders %s: %s: inventory %s: %w", s.Instance, what, class, err))
}
