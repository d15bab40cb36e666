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
	"github.com/apache/dubbo-go-hessian2/java_exception"
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

// Article is an article of the shop.
type Article struct {
	Sku      string
	Name     string
	Category Category
	Price    *gxbig.Decimal
	Listed   time.Time
	Released *java8_time.LocalDate
	Updated  *java8_time.LocalDateTime
	Tags     []string
	// Sizes is a set in Java, which takes any list for it.
	Sizes           []int32
	PriceByCurrency map[string]*gxbig.Decimal
	Similar         []*Article
	Views           int64
	Weight          float64
	InPrint         bool
	Rating          *int32 // nil where nobody has rated it
	Picture         []byte
	Stock           *inventory.Stock // nil when inventory could not be asked
	ServedBy        string           // the instance of the catalogue that answered
}

// JavaClassName returns the class that Java knows the type by.
func (*Article) JavaClassName() string { return "org.example.shop.Article" }

// OutOfPrintException says that an article cannot be had any more. It is unchecked
// in Java, and declared nowhere.
type OutOfPrintException struct {
	SerialVersionUID     int64
	DetailMessage        string
	StackTrace           []java_exception.StackTraceElement
	SuppressedExceptions []java_exception.Throwabler
	Cause                java_exception.Throwabler
	Sku                  string
}

// NewOutOfPrint returns the exception for an article.
func NewOutOfPrint(sku string) *OutOfPrintException {
	return &OutOfPrintException{DetailMessage: sku + " is out of print", StackTrace: []java_exception.StackTraceElement{}, Sku: sku}
}

// Error returns the message.
func (e OutOfPrintException) Error() string { return e.DetailMessage }

// JavaClassName returns the class that Java knows the type by.
func (OutOfPrintException) JavaClassName() string { return "org.example.shop.OutOfPrintException" }

// GetStackTrace returns nothing: callers of a service have no use for its stack.
func (e OutOfPrintException) GetStackTrace() []java_exception.StackTraceElement { return e.StackTrace }

// Skus is a set of articles, Set<String> in Java. dubbo-go has no type for it, and
// takes the class for that of the parameter.
type Skus struct{ all []any }

// NewSkus returns the set of these articles.
func NewSkus(skus ...string) *Skus {
	s := new(Skus)
	for _, sku := range skus {
		s.all = append(s.all, sku)
	}
	return s
}

// Get returns what is in the set, and Set puts it there: Hessian asks.
func (s *Skus) Get() []any { return s.all }

// Set puts into the set.
func (s *Skus) Set(all []any) { s.all = all }

// JavaClassName returns the class that Java knows the type by.
func (*Skus) JavaClassName() string { return "java.util.Set" }

func init() {
	hessian.RegisterPOJO(&Article{})
	hessian.RegisterPOJO(&OutOfPrintException{})
	// Not by SetCollectionSerialize: dubbo-go-hessian2 1.12.5 then loses count of the
	// types of lists, and cannot read sets that come into a slice any more.
	hessian.SetSerializer((*Skus)(nil).JavaClassName(), hessian.JavaCollectionSerializer{})
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
