// Package catalogue is what callers of the catalogue need: the Dubbo interface
// org.example.shop.CatalogueService, which is written in Java
// (examples/java/dubbo), and the classes that travel over it in Hessian2.
package catalogue

import (
	"context"
	"slices"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java8_time"
	gxbig "github.com/dubbogo/gost/math/big"

	"shop.example/api/inventory"
)

// Interface is the Dubbo interface that the catalogue provides.
const Interface = "org.example.shop.CatalogueService"

// MethodArticle is a method of Interface, as it is called on the wire.
const MethodArticle = "article"

// Category is what kind of thing an article is, an enum in Java.
type Category hessian.JavaEnum

// Categories.
const (
	Books Category = iota
	Lighting
	Kitchen
	Stationery
)

var categories = []string{"BOOKS", "LIGHTING", "KITCHEN", "STATIONERY"}

// JavaClassName returns the class that Java knows the type by.
func (Category) JavaClassName() string { return "org.example.shop.Category" }

// String returns the name that Java knows the value by.
func (c Category) String() string {
	if c < 0 || int(c) >= len(categories) {
		return ""
	}
	return categories[c]
}

// EnumValue returns the value of a name: Hessian sends names.
func (Category) EnumValue(name string) hessian.JavaEnum {
	return hessian.JavaEnum(slices.Index(categories, name))
}

// Article is an article of the shop. What Java has beside these fields is passed
// over.
type Article struct {
	Sku      string
	Name     string
	Category Category
	Price    *gxbig.Decimal
	Listed   time.Time
	Released *java8_time.LocalDate
	Tags     []string
	Views    int64
	Weight   float64
	InPrint  bool
	Picture  []byte
	Stock    *inventory.Stock // nil when inventory could not be asked
	ServedBy string           // the instance of the catalogue that answered
}

// JavaClassName returns the class that Java knows the type by.
func (*Article) JavaClassName() string { return "org.example.shop.Article" }

func init() {
	hessian.RegisterPOJO(&Article{})
	for c := Books; c <= Stationery; c++ {
		hessian.RegisterJavaEnum(c)
	}
}

// Client calls the catalogue. It is safe for concurrent use.
type Client struct {
	conn *client.Connection
}

// NewClient makes a Client of a connection dialled to Interface.
func NewClient(conn *client.Connection) *Client { return &Client{conn: conn} }

// Article tells about one article, and what inventory has of it.
func (c *Client) Article(ctx context.Context, sku string, opts ...client.CallOption) (*Article, error) {
	a := new(Article)
	if err := c.conn.CallUnary(ctx, []any{sku}, a, MethodArticle, opts...); err != nil {
		return nil, err
	}
	return a, nil
}
