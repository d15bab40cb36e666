package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/gateway"
)

func TestRequestTravels(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(echo)
	f.routes(toURL("cart", `{"path":"/shop/cart/{id}"}`, up.URL+"/base", `{"stripPrefix":1}`))
	e := f.do("POST", "/shop/cart/4%2F2?a=1;b=%zz&c", strings.NewReader("hello"), "Connection", "X-Secret", "X-Secret", "1", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Prefix", "/x", "Forwarded", "for=6.6.6.6", "Keep-Alive", "1", "Proxy-Authorization", "x").echoed(t)
	if e.Method != http.MethodPost || e.URI != "/base/cart/4%2F2?a=1;b=%zz&c" || e.Body != "hello" || "http://"+e.Host != f.server.URL {
		t.Errorf("got %+v", e)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": strings.TrimPrefix(f.server.URL, "http://"), "X-Forwarded-Proto": "http", "Via": "1.1 weir",
		"X-Secret": "", "X-Forwarded-Prefix": "", "Forwarded": "", "Keep-Alive": "", "Proxy-Authorization": "", "Connection": "",
	} {
		if got := e.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWithoutARoute(t *testing.T) {
	f := start(t, nil)
	f.until("ready", func() bool { return f.proxy.Ready() == nil })
	r := f.get("/nothing")
	if p := r.problem(); r.status != http.StatusNotFound || p.Code != codeNoRoute || r.header.Get("Content-Type") != "application/problem+json" || r.header.Get(ErrorHeader) != codeNoRoute {
		t.Errorf("got %+v", r)
	}
	f.routes(toURL("cart", `{"path":"/cart","method":["PUT","GET"]}`, "http://127.0.0.1:1"))
	if r := f.do("POST", "/cart", nil); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "GET, HEAD, PUT" {
		t.Errorf("got %+v", r)
	}
	f.write(gateway.Write{Route: gateway.Route{Namespace: "shop", Name: "cart"}, Delete: true, Expect: gateway.AnyRevision})
	if r := f.get("/cart"); r.status != http.StatusNotFound {
		t.Errorf("a deleted route answers %+v", r)
	}
}
