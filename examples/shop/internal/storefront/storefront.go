// Package storefront is the shop's web front: it puts carts together of prices,
// which it asks for over HTTP, and of availability, which it asks orders for
// over Triple.
package storefront

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/client"

	"shop.example/api/orders"
	"shop.example/api/pricing"
	"shop.example/internal/web"
)

// Orders is what the storefront needs of orders.
type Orders interface {
	PlaceOrder(ctx context.Context, req *orders.PlaceOrderRequest, opts ...client.CallOption) (*orders.PlaceOrderResponse, error)
	GetAvailability(ctx context.Context, req *orders.GetAvailabilityRequest, opts ...client.CallOption) (*orders.GetAvailabilityResponse, error)
}

// Service answers GET /cart/{id} and POST /cart/{id}/order.
type Service struct {
	Instance string
	Orders   Orders
	// Pricing is the address of pricing, and HTTP the client to ask it with.
	Pricing string
	HTTP    *http.Client
}

// Item is one line of a cart.
type Item struct {
	Sku string `json:"sku"`
	// Cents is the price; nil when nobody could tell it.
	Cents *int64 `json:"cents"`
	// Available is how many pieces there are; nil when nobody could tell.
	Available *int32 `json:"available"`
}

// Cart is what GET /cart/{id} answers.
type Cart struct {
	ID    string `json:"id"`
	Items []Item `json:"items"`
	// Degraded says that something in it could not be had, or is of yesterday.
	Degraded bool     `json:"degraded"`
	Missing  []string `json:"missing,omitempty"`
	ServedBy string   `json:"servedBy"`
}

var articles = []string{"book", "lamp", "mug", "pen"}

// Handler returns the service's handler.
func (s *Service) Handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cart/{id}", s.cart)
	mux.HandleFunc("POST /cart/{id}/order", s.order)
	return mux
}

// contents makes up two articles of a cart from its number.
func contents(id string) []string {
	h := fnv.New32a()
	h.Write([]byte(id))
	n := int(h.Sum32() % uint32(len(articles)))
	return []string{articles[n], articles[(n+1)%len(articles)]}
}

func (s *Service) cart(w http.ResponseWriter, r *http.Request) {
	c := Cart{ID: r.PathValue("id"), ServedBy: s.Instance}
	skus := contents(c.ID)
	c.Items = make([]Item, len(skus))
	missing := make([]string, 2*len(skus))
	var asked sync.WaitGroup
	for i, sku := range skus {
		item := &c.Items[i]
		item.Sku = sku
		asked.Go(func() {
			p, err := s.price(r.Context(), sku)
			switch {
			case err != nil:
				missing[2*i] = "price of " + sku + ": " + err.Error()
			case p.Stale:
				missing[2*i] = "price of " + sku + " is of yesterday"
				item.Cents = &p.Cents
			default:
				item.Cents = &p.Cents
			}
		})
		asked.Go(func() {
			a, err := s.Orders.GetAvailability(r.Context(), &orders.GetAvailabilityRequest{Sku: sku})
			if err != nil {
				missing[2*i+1] = "availability of " + sku + ": " + err.Error()
				return
			}
			item.Available = &a.Available
		})
	}
	asked.Wait()
	for _, m := range missing {
		if m != "" {
			c.Missing = append(c.Missing, m)
		}
	}
	c.Degraded = len(c.Missing) > 0
	web.JSON(w, http.StatusOK, c)
}

func (s *Service) price(ctx context.Context, sku string) (*pricing.Price, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Pricing+"/prices/"+sku, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("pricing answered %s", resp.Status)
	}
	p := new(pricing.Price)
	return p, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<10)).Decode(p)
}

// order places an order for the cart's first article.
func (s *Service) order(w http.ResponseWriter, r *http.Request) {
	resp, err := s.Orders.PlaceOrder(r.Context(), &orders.PlaceOrderRequest{
		Sku: contents(r.PathValue("id"))[0], Count: 1,
		Customer: &orders.Customer{Id: "cart-" + r.PathValue("id"), Name: "storefront"},
	}, client.WithCallRetries(0)) // an order that may have been placed must not be placed again
	switch {
	case err != nil:
		web.JSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	case !resp.GetAccepted():
		web.JSON(w, http.StatusConflict, map[string]string{"error": "too little on the shelf"})
	default:
		web.JSON(w, http.StatusCreated, map[string]string{"order": resp.GetOrderId(), "servedBy": s.Instance})
	}
}
