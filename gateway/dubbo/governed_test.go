package dubbo

import (
	"io"
	"net/http"
	"testing"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

// refusalText makes what sdk/dubbo writes of a refusal.
func refusalText(r *breaker.Refused) string {
	return refusedByWeir + string(r.Reason) + "): " + r.Error()[len("breaker: "):]
}

var switched = &breaker.Refused{
	Reason: breaker.ReasonSwitched, Series: governance.Series{Command: "StockService.count"},
	Policy: "shop/inventory.StockService.count.switch", Version: 7, Kind: governance.KindSwitch, Why: "INC-7: warehouse down, see 10.1.2.3:8080",
}

func TestRefusedByTheProvidersSwitch(t *testing.T) {
	p := startProvider(t, "a", func(w *wire, h header, _ []byte) {
		var e encoder
		e.b = appendInt(e.b, answerException)
		e.object("java.lang.Throwable", "detailMessage")
		e.b = appendString(e.b, refusalText(switched))
		w.write(hessian2, statusOK, h.id, e.b...)
	})
	set := breaker.NewSet(breaker.Config{Settings: governance.Rules{Breaker: &governance.Breaker{MinCalls: 2, ErrorPercent: 1}}})
	defer set.Close()
	s := openShop(t, Config{Breakers: set}, p)
	h := s.compile(gateway.Filter{Retry: &gateway.Retry{Attempts: 3, On: gateway.Strings{"503"}, Methods: gateway.Strings{"POST"}}})
	for range 5 { // the gateway's own circuit stays closed, so that the release is seen
		w := ask(h, http.MethodPost)
		want(t, w, http.StatusServiceUnavailable, "switch shop/inventory.StockService.count.switch, version 7", "INC-7: warehouse down, see …", `"code":"switched-off"`)
		if got := w.Header().Get("Weir-Policy"); got != "shop/inventory.StockService.count.switch; version=7" || w.Header().Get(gateway.ErrorHeader) != "switched-off" {
			t.Errorf("%v", w.Header())
		}
	}
	if p.count() != 5 {
		t.Errorf("%d calls: a switch is one for all instances, so a refusal is not tried elsewhere", p.count())
	}
}

func TestRefusedByTriple(t *testing.T) {
	message := ""
	port := startTriple(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what is missing is not this test's concern
		if r.Header.Get("Content-Type") == "application/json" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"code":"unavailable","message":"`+message+`"}`)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Header().Set("Content-Type", "application/grpc+proto")
		w.WriteHeader(http.StatusOK)
		w.Header().Set("Grpc-Status", "8") // of a bulkhead that is full
		w.Header().Set("Grpc-Message", message)
	})
	s := openShop(t, Config{})
	s.putTriple("a", port)
	hessian := s.compile()
	r := s.route()
	r.Upstream.Dubbo.Args, r.Upstream.Dubbo.Message = nil, &gateway.Message{Body: true}
	idl, err := s.d.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.d.apps[s.app].now.Load() != nil })
	message = refusalText(switched)
	want(t, ask(idl, http.MethodPost), http.StatusServiceUnavailable, "version 7: INC-7")
	message = refusalText(&breaker.Refused{Reason: breaker.ReasonFull, Series: switched.Series, Policy: "shop/p", Version: 3, Kind: governance.KindPolicy, Limit: 5})
	w := ask(hessian, http.MethodPost)
	want(t, w, http.StatusServiceUnavailable, "all 5 calls under way that are allowed by policy shop/p, version 3", `"code":"overloaded"`)
	if got := w.Header().Get("Weir-Policy"); got != "shop/p; version=3" {
		t.Errorf("%q", got)
	}
}

func TestRefusalsOfOthersWords(t *testing.T) {
	for _, c := range []struct{ message, detail, policy string }{
		{"weir refused the call (switched)", "the method is switched off at the provider", ""},
		{"weir refused the call (open): A.b is being tried by other calls", "the provider refuses the call: A.b is being tried by other calls", ""},
		{"weir refused the call (switched): off by switch x\r\nSet-Cookie: a=b, version 7", "the provider refuses the call: off by switch x", ""},
		{"weir refused the call (switched): off by switch x y, version 7: why", "the provider refuses the call: off by switch x y, version 7: why", ""},
		{"org.apache.dubbo.rpc.RpcException: weir refused the call (switched): A.b is switched off by switch n/x, version 2", "the provider refuses the call: A.b is switched off by switch n/x, version 2", "n/x; version=2"},
	} {
		p := governedProblem(c.message)
		if p == nil || p.Detail != c.detail || p.policy != c.policy || p.Status != http.StatusServiceUnavailable {
			t.Errorf("%q: %+v", c.message, p)
		}
	}
	if p := governedProblem("out of stock"); p != nil {
		t.Errorf("%+v", p)
	}
}
