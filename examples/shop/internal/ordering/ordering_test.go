package ordering

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"

	"shop.example/api/inventory"
	"shop.example/api/orders"
	"shop.example/internal/tally"
)

// scripted answers as its script says, and keeps what it was asked.
type scripted struct {
	reserve []error // one for each call; past its end: success
	calls   int
	retries []string
	// attached is what dubbo-go would send along with the last call.
	attached map[string]any
	empty    bool
}

func (s *scripted) Reserve(ctx context.Context, sku string, count int32, buyer *inventory.Buyer, opts ...client.CallOption) (*inventory.Reservation, error) {
	var o client.CallOptions
	for _, opt := range opts {
		opt(&o)
	}
	s.retries = append(s.retries, o.Retries)
	s.attached, _ = ctx.Value(constant.AttachmentKey).(map[string]any)
	s.calls++
	if s.calls <= len(s.reserve) {
		return nil, s.reserve[s.calls-1]
	}
	if s.empty {
		return &inventory.Reservation{}, nil
	}
	return &inventory.Reservation{ID: "r1", Sku: sku, Count: count, Reserved: true, Buyer: buyer, ServedBy: "inv-a"}, nil
}

func (s *scripted) Stock(context.Context, string, ...client.CallOption) (*inventory.Stock, error) {
	return nil, errors.New("not in the script")
}

func service(inv Inventory) *Service {
	return &Service{
		Instance: "ord-a", Inventory: inv, Made: tally.NewCalls(time.Now, nil),
		Timeout: time.Second, Patience: 3 * time.Second,
	}
}

func TestPlaceOrderRepeatsOnlyWhatInventoryDidNotRun(t *testing.T) {
	timeout := errors.New("maybe the client read timeout or fail to decode tcp stream in Writer.Write")
	unknown := &hessian2.GenericException{ExceptionClass: "org.example.shop.UnknownSkuException", ExceptionMessage: "no article x"}
	for name, c := range map[string]struct {
		script []error
		calls  int
		code   triple_protocol.Code // of the error; 0 for success
		class  string
	}{
		"answered":         {nil, 1, 0, ""},
		"closed, then not": {[]error{base.ErrClientClosed, base.ErrDestroyedInvoker}, 3, 0, ""},
		"timed out":        {[]error{timeout}, 1, triple_protocol.CodeDeadlineExceeded, "timeout"},
		"closed, then timed out": {
			[]error{base.ErrClientClosed, timeout}, 2, triple_protocol.CodeDeadlineExceeded, "timeout",
		},
		"said no": {[]error{unknown}, 1, triple_protocol.CodeNotFound, "business"},
		"boom":    {[]error{errors.New("boom")}, 1, triple_protocol.CodeUnavailable, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inv := &scripted{reserve: c.script}
				s := service(inv)
				resp, err := s.PlaceOrder(t.Context(), &orders.PlaceOrderRequest{Sku: "book", Count: 1})
				if inv.calls != c.calls {
					t.Errorf("inventory was called %d times, want %d", inv.calls, c.calls)
				}
				for _, r := range inv.retries {
					if r != "0" {
						t.Errorf("dubbo-go was allowed %q retries of its own", r)
					}
				}
				made := s.Made.Stats()
				if made.Attempts != int64(c.calls) {
					t.Errorf("counted %d attempts", made.Attempts)
				}
				if c.code == 0 {
					if err != nil || !resp.GetAccepted() || resp.GetOrderId() != "ord-a-1" || resp.GetInventoryServedBy() != "inv-a" || int(resp.GetInventoryAttempts()) != c.calls {
						t.Errorf("%v, %v", resp, err)
					}
					return
				}
				if triple_protocol.CodeOf(err) != c.code || !strings.Contains(err.Error(), "ord-a") || made.ByClass[c.class] != 1 {
					t.Errorf("error %v, counted %v; want %v and %s", err, made.ByClass, c.code, c.class)
				}
			})
		})
	}
}

func TestPlaceOrderGivesUpWhenNobodyCanBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := make([]error, 1000)
		for i := range script {
			script[i] = base.ErrClientClosed
		}
		inv := &scripted{reserve: script}
		s := service(inv)
		_, err := s.PlaceOrder(t.Context(), &orders.PlaceOrderRequest{Sku: "book", Count: 1})
		if triple_protocol.CodeOf(err) != triple_protocol.CodeUnavailable || inv.calls < 2 || s.Made.Stats().ByClass["unreachable"] != 1 {
			t.Errorf("%v after %d calls, counted %v", err, inv.calls, s.Made.Stats().ByClass)
		}
	})
}

// dubbo-go can hand out an answer with nothing in it where a provider sent none.
func TestPlaceOrderMindsAnEmptyAnswer(t *testing.T) {
	s := service(&scripted{empty: true})
	if resp, err := s.PlaceOrder(t.Context(), &orders.PlaceOrderRequest{Sku: "book", Count: 1}); err == nil {
		t.Errorf("accepted %v", resp)
	}
}

func TestPlaceOrderDoesNotPassItsCallersTimeoutOn(t *testing.T) {
	inv := &scripted{}
	ctx := context.WithValue(t.Context(), constant.AttachmentKey, map[string]any{"timeout": "1h", "retries": "7"})
	if _, err := service(inv).PlaceOrder(ctx, &orders.PlaceOrderRequest{Sku: "book", Count: 1}); err != nil {
		t.Fatal(err)
	}
	if inv.attached == nil || len(inv.attached) != 0 {
		t.Errorf("inventory was sent %v of the call being served", inv.attached)
	}
}
