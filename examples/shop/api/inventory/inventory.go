// Package inventory is what inventory and its callers share: the Dubbo interface
// org.example.shop.InventoryService and the Java classes that travel over it in
// Hessian2. A Java program can call it with
//
//	package org.example.shop;
//	public interface InventoryService {
//	    Reservation reserve(String sku, int count, Buyer buyer) throws UnknownSkuException;
//	    Stock stock(String sku) throws UnknownSkuException;
//	}
package inventory

import (
	"context"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"
)

// Interface is the Dubbo interface that inventory provides.
const Interface = "org.example.shop.InventoryService"

// Methods of Interface, as they are called on the wire.
const (
	MethodReserve = "reserve"
	MethodStock   = "stock"
)

// Buyer is who an article is reserved for.
type Buyer struct {
	ID   string `hessian:"id" m:"id"` // else Java and generic callers would know it as iD
	Name string
}

// JavaClassName returns the class that Java knows the type by.
func (*Buyer) JavaClassName() string { return "org.example.shop.Buyer" }

// Reservation is the answer to a wish to reserve. Reserved is false when there
// was too little stock: that is an answer, not an error.
type Reservation struct {
	ID        string `hessian:"id" m:"id"`
	Sku       string
	Count     int32
	Reserved  bool
	Remaining int32 // what the answering instance has left of the article
	Buyer     *Buyer
	Expires   time.Time // when the stock goes back on the shelf
	ServedBy  string    // the instance of inventory that answered
}

// JavaClassName returns the class that Java knows the type by.
func (*Reservation) JavaClassName() string { return "org.example.shop.Reservation" }

// GetServedBy returns the instance that answered.
func (r *Reservation) GetServedBy() string { return r.ServedBy }

// Stock is how much of an article an instance of inventory has.
type Stock struct {
	Sku       string
	Available int32
	Reserved  int32
	ServedBy  string
}

// JavaClassName returns the class that Java knows the type by.
func (*Stock) JavaClassName() string { return "org.example.shop.Stock" }

// GetServedBy returns the instance that answered.
func (s *Stock) GetServedBy() string { return s.ServedBy }

// UnknownSkuException says that inventory has no such article. Its fields are
// those of java.lang.Throwable, since that is what Hessian writes for it.
type UnknownSkuException struct {
	SerialVersionUID     int64
	DetailMessage        string
	StackTrace           []java_exception.StackTraceElement
	SuppressedExceptions []java_exception.Throwabler
	Cause                java_exception.Throwabler
}

// NewUnknownSku returns the exception for an article that is not in the catalogue.
func NewUnknownSku(sku string) *UnknownSkuException {
	return &UnknownSkuException{
		DetailMessage: "no article " + sku + " in the catalogue",
		StackTrace:    []java_exception.StackTraceElement{},
	}
}

// Error returns the message.
func (e UnknownSkuException) Error() string { return e.DetailMessage }

// JavaClassName returns the class that Java knows the type by.
func (UnknownSkuException) JavaClassName() string { return "org.example.shop.UnknownSkuException" }

// GetStackTrace returns nothing: callers of a service have no use for its stack.
func (e UnknownSkuException) GetStackTrace() []java_exception.StackTraceElement { return e.StackTrace }

func init() {
	hessian.RegisterPOJO(&Buyer{})
	hessian.RegisterPOJO(&Reservation{})
	hessian.RegisterPOJO(&Stock{})
	hessian.RegisterPOJO(&UnknownSkuException{})
}

// Client calls inventory. It is safe for concurrent use.
type Client struct {
	conn *client.Connection
}

// NewClient makes a Client of a connection dialled to Interface.
func NewClient(conn *client.Connection) *Client { return &Client{conn: conn} }

// Reserve takes count pieces of an article off the shelf for a buyer. It is not
// idempotent: each call that arrives reserves anew.
func (c *Client) Reserve(ctx context.Context, sku string, count int32, buyer *Buyer, opts ...client.CallOption) (*Reservation, error) {
	r := new(Reservation)
	if err := c.conn.CallUnary(ctx, []any{sku, count, buyer}, r, MethodReserve, opts...); err != nil {
		return nil, err
	}
	return r, nil
}

// Stock tells how much there is of an article. It changes nothing.
func (c *Client) Stock(ctx context.Context, sku string, opts ...client.CallOption) (*Stock, error) {
	s := new(Stock)
	if err := c.conn.CallUnary(ctx, []any{sku}, s, MethodStock, opts...); err != nil {
		return nil, err
	}
	return s, nil
}
