// Package storefront is the shop's web front: it puts carts together of prices,
// which it asks for over HTTP, and of availability, which it asks orders for
// over Triple. What an article is it asks the catalogue, where there is one, and
// when it can be with its buyer, delivery.
package storefront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"

	"shop.example/api/catalogue"
	"shop.example/api/orders"
	"shop.example/api/pricing"
	"shop.example/internal/web"
)

// Orders is what the storefront needs of orders.
type Orders interface {
	PlaceOrder(ctx context.Context, req *orders.PlaceOrderRequest, opts ...client.CallOption) (*orders.PlaceOrderResponse, error)
	GetAvailability(ctx context.Context, req *orders.GetAvailabilityRequest, opts ...client.CallOption) (*orders.GetAvailabilityResponse, error)
}

// Catalogue is what the storefront needs of the catalogue.
type Catalogue interface {
	Article(ctx context.Context, sku string, opts ...client.CallOption) (*catalogue.Article, error)
}

// Service answers GET /cart/{id}, POST /cart/{id}/order and GET /article/{sku}.
type Service struct {
	Instance string
	Orders   Orders
	// Catalogue is nil in a shop without one.
	Catalogue Catalogue
	// Pricing is the address of pricing, and Delivery that of delivery, empty in a
	// shop without one; HTTP is the client to ask them with.
	Pricing, Delivery string
	HTTP              *http.Client
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
	if s.Catalogue != nil {
		mux.HandleFunc("GET /article/{sku}", s.article)
	}
	return mux
}

// Article is what GET /article/{sku} answers.
type Article struct {
	Sku      string    `json:"sku"`
	Name     string    `json:"name"`
	Category string    `json:"category"`
	Price    string    `json:"price"`
	Listed   time.Time `json:"listed"`
	Tags     []string  `json:"tags"`
	Views    int64     `json:"views,string"`
	// Available is how many pieces there are; nil when nobody could tell.
	Available *int32 `json:"available"`
	// ServedBy is the instance of the catalogue that answered, StockBy that of
	// inventory which it had asked.
	ServedBy string `json:"servedBy"`
	StockBy  string `json:"stockBy,omitempty"`
	// Delivery is nil where there is none, or nobody could tell.
	Delivery *Delivery `json:"delivery,omitempty"`
}

// Delivery is when an article can be with its buyer, and by whom.
type Delivery struct {
	Carrier string `json:"carrier"`
	Day     string `json:"day"`
}

// unknownSku is the class of the exception for an article that is not there.
const unknownSku = "org.example.shop.UnknownSkuException"

// deliveryPatience is how long an article waits for its delivery.
const deliveryPatience = 500 * time.Millisecond

func (s *Service) article(w http.ResponseWriter, r *http.Request) {
	sku := r.PathValue("sku")
	var delivery *Delivery
	var asked sync.WaitGroup
	// An article is shown without it too, and does not wait long for it.
	within, enough := context.WithTimeout(r.Context(), deliveryPatience)
	defer enough()
	if s.Delivery != "" {
		asked.Go(func() {
			if d, err := ask[Delivery](within, s.HTTP, s.Delivery+"/delivery/"+url.PathEscape(sku)); err == nil {
				delivery = d
			}
		})
	}
	// To look something up once more does no harm.
	a, err := s.Catalogue.Article(r.Context(), sku, client.WithCallRetries(2))
	if err != nil {
		enough() // there is nothing to show it with
	}
	asked.Wait()
	var thrown *hessian2.GenericException
	switch {
	case errors.As(err, &thrown) && thrown.ExceptionClass == unknownSku:
		web.JSON(w, http.StatusNotFound, map[string]string{"error": thrown.ExceptionMessage})
	case err != nil:
		web.JSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	default:
		out := Article{
			Sku: a.Sku, Name: a.Name, Category: a.Category.String(), Listed: a.Listed.UTC(), Tags: a.Tags,
			Views: a.Views, ServedBy: a.ServedBy, Delivery: delivery,
		}
		if a.Stock != nil {
			out.Available, out.StockBy = &a.Stock.Available, a.Stock.ServedBy
		}
		if a.Price != nil {
			out.Price = a.Price.String()
		}
		web.JSON(w, http.StatusOK, out)
	}
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
	return ask[pricing.Price](ctx, s.HTTP, s.Pricing+"/prices/"+sku)
}

// ask reads what a service answers to a GET. Its host is one of the flags'.
func ask[T any](ctx context.Context, c *http.Client, address string) (*T, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // as said above
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req) //nolint:gosec // as said above
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL.Hostname(), resp.Status)
	}
	answer := new(T)
	return answer, json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 64<<10)).Decode(answer)
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
