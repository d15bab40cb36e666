package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/dubbo"
)

const inventory = "org.example.shop.InventoryService"

var reserveArgs = []gateway.Arg{
	{Type: "java.lang.String", From: "body.sku"},
	{Type: "int", From: "body.count"},
	{Type: "org.example.shop.Buyer", From: "body.buyer", Optional: true},
}

func TestShopInventory(t *testing.T) {
	_, port := startShop(t, "inventory", "inv-a")
	w := newWorld(t, dubbo.Config{})
	w.put("a", "dubbo", port)
	reserve := w.compile(inventory, "reserve", reserveArgs)

	resp := post(reserve, `{"sku":"book","count":2,"buyer":{"id":"7","name":"Ann \"é😀\""}}`)
	expect(t, resp, http.StatusOK, `"reserved":true`, `"servedBy":"inv-a"`, `"expires":"20`)
	var reservation struct {
		Sku   string
		Count int
		Buyer struct{ ID, Name string }
	}
	if err := json.Unmarshal(resp.Body.Bytes(), &reservation); err != nil {
		t.Fatal(err)
	}
	if reservation.Sku != "book" || reservation.Count != 2 || reservation.Buyer.Name != `Ann "é😀"` || reservation.Buyer.ID != "7" {
		t.Errorf("%+v of %s", reservation, resp.Body)
	}
	if strings.Contains(resp.Body.String(), "class") {
		t.Errorf("the class is told: %s", resp.Body)
	}
	expect(t, post(reserve, `{"sku":"book","count":1}`), http.StatusOK, `"reserved":true`)

	unknown := post(reserve, `{"sku":"unicorn","count":2,"buyer":{"name":"Ann"}}`)
	expect(t, unknown, http.StatusUnprocessableEntity, `"exception":"org.example.shop.UnknownSkuException"`, "no article unicorn in the catalogue")
	if strings.Contains(strings.ToLower(unknown.Body.String()), "stack") || strings.Contains(unknown.Body.String(), "127.0.0.1") {
		t.Errorf("too much is told: %s", unknown.Body)
	}
	expect(t, post(reserve, `{"sku":"book","count":"two"}`), http.StatusBadRequest, "argument 2 (int) from body.count")
	expect(t, post(reserve, `{"sku":"book","count":2,"buyer":"Ann"}`), http.StatusBadRequest, "body.buyer", "a JSON object")
	expect(t, post(w.compile(inventory, "reserveAll", reserveArgs), `{"sku":"book","count":2}`), http.StatusNotFound)
	expect(t, post(w.compile(inventory, "reserve", reserveArgs[:2]), `{"sku":"book","count":2}`), http.StatusNotFound, "another number of arguments")
	expect(t, post(w.compile("org.example.shop.Other", "reserve", reserveArgs), `{"sku":"book","count":2}`), http.StatusNotFound)

	stock := w.compile(inventory, "stock", []gateway.Arg{{Type: "java.lang.String", From: "query.sku", Default: []byte(`"pen"`)}})
	expect(t, post(stock, ""), http.StatusOK, `"sku":"pen"`, `"available":`)
}

func TestShopOrders(t *testing.T) {
	_, invPort := startShop(t, "inventory", "inv-a")
	_, port := startShop(t, "orders", "ord-a", "-inventory", fmt.Sprint("dubbo://127.0.0.1:", invPort))
	w := newWorld(t, dubbo.Config{})
	w.put("a", "tri", port)
	place := func(m *gateway.Message, method string) http.Handler {
		return w.route(gateway.Route{
			Namespace: "shop", Name: "order",
			Upstream: gateway.Upstream{Dubbo: &gateway.Dubbo{App: "shop/probe", Interface: "org.example.shop.OrderService", Method: method, Message: m}},
		})
	}
	body := place(&gateway.Message{Body: true}, "PlaceOrder")
	expect(t, post(body, `{"sku":"book","count":2,"customer":{"id":"7","name":"Ann"}}`), http.StatusOK, `"accepted":true`, `"served_by":"ord-a"`)
	expect(t, post(body, `{"sku":"book","count":"many"}`), http.StatusBadRequest)
	expect(t, post(body, `[]`), http.StatusBadRequest)
	unknown := post(body, `{"sku":"unicorn","count":2,"customer":{"id":"7"}}`)
	if unknown.Code < 400 || unknown.Code >= 500 {
		t.Errorf("an unknown article: %d %s", unknown.Code, unknown.Body)
	}
	fields := place(&gateway.Message{Fields: map[string]string{"sku": "header.X-Sku"}}, "GetAvailability")
	expect(t, post(fields, "", "X-Sku", "pen"), http.StatusOK, `"sku":"pen"`)
	expect(t, post(place(&gateway.Message{Body: true}, "NoSuch"), `{}`), http.StatusNotFound)
}
