package dubbo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/reporter/recorder"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/trace"
)

func refuse(w *wire, h header, _ []byte) {
	w.write(hessian2, statusThreadPoolIsEmpty, h.id, appendString(nil, "Thread pool is EXHAUSTED!")...)
}

func hangUp(w *wire, _ header, _ []byte) { w.conn.Close() }

func TestRetriesWhatDidNotRun(t *testing.T) {
	full := startProvider(t, "full", refuse)
	good := startProvider(t, "good", nil)
	s := openShop(t, Config{}, full, good)
	h := s.compile()
	for range 200 {
		want(t, ask(h, http.MethodPost), http.StatusOK, `"good"`)
	}
	if n := full.count(); n == 0 || n > 40 {
		t.Errorf("the full provider was asked %d times: it has to rest between", n)
	}
	// A port that nobody listens at.
	full.close()
	s.disconnected(full)
	for range 20 {
		want(t, ask(h, http.MethodPost), http.StatusOK, `"good"`)
	}
	good.close()
	s.disconnected(good)
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "cannot be reached")
}

func TestRepeatsNothingThatMayHaveRun(t *testing.T) {
	bad := startProvider(t, "bad", hangUp)
	good := startProvider(t, "good", nil)
	s := openShop(t, Config{}, bad, good)
	h := s.compile()
	broken := 0
	waitFor(t, func() bool {
		if w := ask(h, http.MethodPost); w.Code == http.StatusBadGateway {
			want(t, w, http.StatusBadGateway, "may have run")
			broken++
		}
		return broken > 0
	})
	if broken == 0 || broken != bad.count() {
		t.Errorf("%d calls broke, %d were made", broken, bad.count())
	}
	// Unless the route says so.
	again := s.compile(gateway.Filter{Retry: &gateway.Retry{Attempts: 2, On: []string{"reset"}, Methods: []string{"POST"}, Budget: 100}})
	for range 20 {
		want(t, ask(again, http.MethodPost), http.StatusOK, `"good"`)
	}
	reads := s.compile(gateway.Filter{Retry: &gateway.Retry{Attempts: 2, On: []string{"reset"}, Budget: 100}})
	for range 20 {
		want(t, ask(reads, http.MethodGet), http.StatusOK, `"good"`)
	}
}

func TestRetryBudget(t *testing.T) {
	bad := startProvider(t, "bad", hangUp)
	worse := startProvider(t, "worse", hangUp)
	s := openShop(t, Config{}, bad, worse)
	h := s.compile(gateway.Filter{Retry: &gateway.Retry{Attempts: 2, On: []string{"reset"}, Budget: 10}})
	for range 100 {
		want(t, ask(h, http.MethodGet), http.StatusBadGateway)
	}
	if n := bad.count() + worse.count(); n < 110 || n > 121 {
		t.Errorf("%d calls for 100 requests, of which 10 %% and ten at once may be repeated", n)
	}
}

func TestNoProvider(t *testing.T) {
	s := openShop(t, Config{})
	h := s.compile()
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "shop/stock has no instances")
	p := startProvider(t, "a", nil)
	s.put(p, registry.Details{})
	waitFor(t, func() bool { return ask(h, http.MethodPost).Code == http.StatusOK })
	s.reg.SetHealth(s.app, "a", registry.NotReady)
	waitFor(t, func() bool {
		return strings.Contains(ask(h, http.MethodPost).Body.String(), "the only instance of shop/stock takes no calls")
	})
	message := s.route()
	message.Upstream.Dubbo.Args, message.Upstream.Dubbo.Message = nil, &gateway.Message{Fields: map[string]string{"sku": "path.sku"}}
	m, err := s.d.Compile(message)
	if err != nil {
		t.Fatal(err)
	}
	s.reg.SetHealth(s.app, "a", registry.Ready)
	waitFor(t, func() bool { return strings.Contains(ask(m, http.MethodPost).Body.String(), "offers Triple") })
	s.d.Close()
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable)
	if _, err := s.d.Compile(s.route()); gateway.CodeOf(err) != gateway.Unavailable {
		t.Errorf("%v", err)
	}
}

func waitFor(t testing.TB, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("not within 30 s")
		}
	}
}

func TestTags(t *testing.T) {
	gray, plain := startProvider(t, "gray", nil), startProvider(t, "plain", nil)
	s := openShop(t, Config{}, plain)
	s.put(gray, registry.Details{Tag: "gray"})
	h := s.compile()
	waitFor(t, func() bool { return strings.Contains(ask(h, http.MethodPost, "X-Tag", "gray").Body.String(), "gray") })
	for range 20 {
		want(t, ask(h, http.MethodPost, "X-Tag", "gray"), http.StatusOK, `"gray"`)
		want(t, ask(h, http.MethodPost), http.StatusOK, `"plain"`)
		want(t, ask(h, http.MethodPost, "X-Tag", "unknown"), http.StatusOK, `"plain"`)
	}
	if !strings.Contains(gray.request(), "\x09dubbo.tag\x04gray") {
		t.Errorf("the tag does not travel on: %q", gray.request())
	}
}

func TestBreaker(t *testing.T) {
	p := startProvider(t, "a", hangUp)
	set := breaker.NewSet(breaker.Config{
		App:      governance.App{Namespace: "weir-system", Name: "gateway"},
		Settings: governance.Rules{Breaker: &governance.Breaker{MinCalls: 5, ErrorPercent: 50, OpenFor: governance.Duration(time.Hour)}},
	})
	defer set.Close()
	s := openShop(t, Config{Breakers: set}, p)
	h := s.compile()
	for range 5 {
		want(t, ask(h, http.MethodPost), http.StatusBadGateway)
	}
	calls := p.count()
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "its circuit is open")
	if p.count() != calls {
		t.Error("an open circuit let a call through")
	}
	status := set.Status()
	if len(status) != 1 || status[0].Series != (governance.Series{
		Command: "StockService.count", At: governance.Caller, Peer: governance.App{Namespace: "shop", Name: "stock"},
	}) {
		t.Errorf("%+v", status)
	}
	err := set.Apply([]governance.Version{{Version: 1, Policy: governance.Policy{
		Target: governance.Target{App: governance.App{Namespace: "shop", Name: "stock"}, Command: "StockService.count", At: governance.Caller},
		Rules:  governance.Rules{Fallback: &governance.Fallback{Value: json.RawMessage(`{"left":0}`)}},
	}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, ask(h, http.MethodPost), http.StatusOK, `{"left":0}`)
}

func TestBreakerTakesNoOffenceAtExceptions(t *testing.T) {
	p := startProvider(t, "a", func(w *wire, h header, _ []byte) {
		var e encoder
		e.b = appendInt(e.b, answerException)
		e.object("org.example.UnknownSku", "detailMessage")
		e.b = appendString(e.b, "no such article")
		w.write(hessian2, statusOK, h.id, e.b...)
	})
	set := breaker.NewSet(breaker.Config{Settings: governance.Rules{Breaker: &governance.Breaker{MinCalls: 5, ErrorPercent: 1}}})
	defer set.Close()
	h := openShop(t, Config{Breakers: set}, p).compile()
	for range 30 {
		want(t, ask(h, http.MethodPost), http.StatusUnprocessableEntity, "org.example.UnknownSku", "no such article")
	}
}

func TestBreakerTakesErrorsSeriously(t *testing.T) {
	p := startProvider(t, "a", func(w *wire, h header, _ []byte) {
		var e encoder
		e.b = appendInt(e.b, answerException)
		e.object("java.lang.Throwable", "detailMessage") // which dubbo-go makes of every error
		e.b = appendString(e.b, "no database")
		w.write(hessian2, statusOK, h.id, e.b...)
	})
	set := breaker.NewSet(breaker.Config{Settings: governance.Rules{Breaker: &governance.Breaker{MinCalls: 5, ErrorPercent: 50}}})
	defer set.Close()
	h := openShop(t, Config{Breakers: set}, p).compile()
	for range 5 {
		want(t, ask(h, http.MethodPost), http.StatusInternalServerError, "no database")
	}
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "its circuit is open")
}

func TestTrace(t *testing.T) {
	p := startProvider(t, "a", nil)
	rec := recorder.NewReporter()
	defer rec.Close()
	tracer, err := trace.New(trace.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}, Reporter: rec})
	if err != nil {
		t.Fatal(err)
	}
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}})
	defer set.Close()
	h := openShop(t, Config{Tracer: tracer, Breakers: set}, p).compile()
	span, ctx := tracer.StartServer(t.Context(), "POST", trace.Strings{})
	want(t, askIn(ctx, h, http.MethodPost, "Traceparent", "00-11111111111111111111111111111111-2222222222222222-01"), http.StatusOK)
	span.Finish()
	spans := rec.Flush()
	if len(spans) != 2 || spans[0].Name != "StockService.count" || spans[0].RemoteEndpoint.ServiceName != "stock" ||
		spans[0].TraceID != spans[1].TraceID || *spans[0].ParentID != spans[1].ID {
		t.Fatalf("%+v", spans)
	}
	id := spans[0].TraceID.String()
	for _, key := range []string{"traceparent", "b3", "X-B3-TraceId"} {
		if !strings.Contains(p.request(), key) {
			t.Errorf("no %s in %q", key, p.request())
		}
	}
	if !strings.Contains(p.request(), id) || strings.Contains(p.request(), "1111111111111111") {
		t.Errorf("another trace than %s goes on: %q", id, p.request())
	}
	if tags := spans[0].Tags; tags["weir.command"] != "StockService.count" || tags["weir.peer"] != "shop/stock" || tags["weir.refused"] != "" {
		t.Errorf("%v", tags)
	}

	// A call that is refused has its span too, and tells who answered.
	err = set.Apply([]governance.Version{{Version: 3, Policy: governance.Policy{
		Kind:   governance.KindSwitch,
		Target: governance.Target{App: governance.App{Namespace: "shop", Name: "stock"}, At: governance.Caller},
		Rules:  governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: &governance.Fallback{Empty: true}},
	}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want(t, ask(h, http.MethodPost), http.StatusOK, "null")
	refused := rec.Flush()
	if len(refused) != 1 || refused[0].Tags["weir.command"] != "StockService.count" || refused[0].Tags["weir.refused"] != "switched" ||
		refused[0].Tags["weir.fallback"] != "empty" || refused[0].Tags["weir.policy.version"] != "3" || refused[0].Tags["error"] != "" {
		t.Errorf("%+v", refused)
	}
}

func TestDrainsByAnswer(t *testing.T) {
	leaving := startProvider(t, "leaving", func(w *wire, h header, _ []byte) {
		b := appendString(appendInt(nil, answerValueAttached), "leaving")
		b = appendAttachment(append(b, tagMapUntyped), "closing", "true")
		w.write(hessian2, statusOK, h.id, append(b, tagEnd)...)
	})
	good := startProvider(t, "good", nil)
	s := openShop(t, Config{}, leaving, good)
	h := s.compile()
	for range 40 {
		want(t, ask(h, http.MethodPost), http.StatusOK)
	}
	if n := leaving.count(); n != 1 {
		t.Errorf("%d calls went to a provider that leaves, the first told so", n)
	}
	// With no other it is still better than none.
	s.reg.RemoveInstance(s.app, "good")
	waitFor(t, func() bool { return strings.Contains(ask(h, http.MethodPost).Body.String(), "leaving") })
}

// dubbo-go refuses calls by an answer of nothing while it leaves; a method that
// answers nothing gives the call's attachments back.
func TestRefusedWithNothing(t *testing.T) {
	var echo atomic.Bool
	leaving := startProvider(t, "leaving", func(w *wire, h header, _ []byte) {
		b := appendAttachment(append(appendInt(nil, answerNullAttached), tagMapUntyped), "closing", "true")
		if echo.Load() {
			b = appendAttachment(b, "interface", "org.example.StockService")
		}
		w.write(hessian2, statusOK, h.id, append(b, tagEnd)...)
	})
	s := openShop(t, Config{}, leaving)
	h := s.compile()
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "the provider is leaving")
	echo.Store(true)
	want(t, ask(h, http.MethodPost), http.StatusOK, "null")
	echo.Store(false)
	leaving.mu.Lock()
	leaving.answer = func(w *wire, h header, _ []byte) { // the program's own words
		var e encoder
		e.b = appendInt(e.b, answerExceptionAttached)
		e.object("java.lang.Throwable", "detailMessage")
		e.b = appendString(e.b, "shutting down")
		e.b = appendAttachment(append(e.b, tagMapUntyped), "closing", "true")
		w.write(hessian2, statusOK, h.id, append(e.b, tagEnd)...)
	}
	leaving.mu.Unlock()
	want(t, ask(h, http.MethodPost), http.StatusServiceUnavailable, "the provider is leaving")
	s.put(startProvider(t, "good", nil), registry.Details{})
	waitFor(t, func() bool { return strings.Contains(ask(h, http.MethodPost).Body.String(), "good") })
	for range 10 {
		want(t, ask(h, http.MethodPost), http.StatusOK, `"good"`)
	}
}

func TestDeadline(t *testing.T) {
	release := make(chan struct{})
	p := startProvider(t, "a", func(w *wire, h header, _ []byte) {
		go func() {
			<-release
			w.answer(h.id, "late")
		}()
	})
	s := openShop(t, Config{}, p)
	total := s.compile(gateway.Filter{Timeout: &gateway.Timeout{Total: gateway.Duration(20 * time.Millisecond)}})
	want(t, ask(total, http.MethodPost), http.StatusGatewayTimeout)
	if !strings.Contains(p.request(), "\x07timeout\x02") {
		t.Errorf("the time left does not travel on: %q", p.request())
	}
	cause, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("the route's time is over"))
	defer cancel()
	want(t, askIn(cause, s.compile(), http.MethodPost), http.StatusGatewayTimeout)
	gone, leave := context.WithCancel(t.Context())
	leave()
	want(t, askIn(gone, s.compile(), http.MethodPost), 499)
	close(release)
}

// Endpoints that come and go leave nothing behind.
func TestChurn(t *testing.T) {
	p := startProvider(t, "a", nil)
	s := openShop(t, Config{}, p)
	h := s.compile()
	for i := range 200 {
		name := "other" + strconv.Itoa(i%7)
		host := netip.AddrFrom4([4]byte{127, 0, byte(i % 5), byte(i%11 + 1)})
		s.reg.PutInstance(s.app, registry.Instance{
			ID: name, Name: name, Host: host, Health: registry.Ready,
			Endpoints: []registry.Endpoint{{Protocol: "dubbo", Port: uint16(p.port())}, {Protocol: "tri", Port: uint16(p.port() + 1)}},
			Metadata:  map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":"dubbo"},{"port":%d,"protocol":"tri"}]`, p.port(), p.port()+1)},
		})
		ask(h, http.MethodPost)
		if i%3 == 0 {
			s.reg.RemoveInstance(s.app, name)
		}
	}
	for i := range 7 {
		s.reg.RemoveInstance(s.app, "other"+strconv.Itoa(i))
	}
	a := s.d.apps[s.app]
	waitFor(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.have) == 1
	})
	want(t, ask(h, http.MethodPost), http.StatusOK)
	// A call under way outlives its endpoint's place in the registry.
	asked, release := make(chan struct{}), make(chan struct{})
	p.mu.Lock()
	p.answer = func(w *wire, h header, _ []byte) {
		close(asked)
		<-release
		w.answer(h.id, "done")
	}
	p.mu.Unlock()
	result := make(chan *httptest.ResponseRecorder)
	go func() { result <- ask(h, http.MethodPost) }()
	<-asked
	s.reg.RemoveInstance(s.app, "a")
	waitFor(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.have) == 0
	})
	close(release)
	want(t, <-result, http.StatusOK, "done")
	waitFor(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.conns {
			if _, err := c.Write(nil); err == nil {
				one := make([]byte, 1)
				_ = c.SetReadDeadline(time.Now()) // closed conns say so in another way
				if _, err := c.Read(one); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					return false
				}
			}
		}
		return true
	})
}

func TestHandlersLetGo(t *testing.T) {
	s := openShop(t, Config{}, startProvider(t, "a", nil))
	first, second := s.compile(), s.compile()
	follows := func() bool {
		s.d.mu.Lock()
		defer s.d.mu.Unlock()
		return s.d.apps[s.app] != nil
	}
	for range 2 {
		if err := first.(io.Closer).Close(); err != nil { //nolint:forcetypeassert // promised
			t.Fatal(err)
		}
	}
	if !follows() {
		t.Error("the application was let go of while a handler needs it")
	}
	want(t, ask(second, http.MethodPost), http.StatusOK)
	runtime.KeepAlive(second) // and no longer
	waitFor(t, func() bool {
		runtime.GC()
		return !follows()
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := openShop(t, Config{Metrics: reg}, startProvider(t, "a", nil))
	h := s.compile()
	want(t, ask(h, http.MethodPost), http.StatusOK)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, name := range []string{"weir_gateway_dubbo_requests_total", "weir_gateway_dubbo_request_seconds", "weir_gateway_dubbo_calls_pending", "weir_gateway_dubbo_endpoints"} {
		if !slices.Contains(names, name) {
			t.Errorf("no %s in %v", name, names)
		}
	}
}

// A call is counted for as long as it is under way, wherever its endpoint is by then.
func TestPendingCountsCallsToWhatLeft(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	asked, release := make(chan struct{}), make(chan struct{})
	p := startProvider(t, "a", func(w *wire, h header, _ []byte) {
		close(asked)
		<-release
		w.answer(h.id, "done")
	})
	s := openShop(t, Config{Metrics: reg}, p)
	h := s.compile()
	result := make(chan *httptest.ResponseRecorder)
	go func() { result <- ask(h, http.MethodPost) }()
	<-asked
	pending := func(want int) {
		t.Helper()
		text := fmt.Sprintf("# HELP weir_gateway_dubbo_calls_pending Calls under way.\n# TYPE weir_gateway_dubbo_calls_pending gauge\nweir_gateway_dubbo_calls_pending{app=\"shop/stock\"} %d\n", want)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "weir_gateway_dubbo_calls_pending"); err != nil {
			t.Error(err)
		}
	}
	pending(1)
	s.reg.RemoveInstance(s.app, "a")
	a := s.d.apps[s.app]
	waitFor(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.have) == 0
	})
	pending(1)
	close(release)
	want(t, <-result, http.StatusOK, "done")
	pending(0)
}

func TestCompileRefuses(t *testing.T) {
	s := openShop(t, Config{})
	for field, change := range map[string]func(*gateway.Route){
		"upstream.dubbo":                      func(r *gateway.Route) { r.Upstream.Dubbo = nil },
		"upstream.dubbo.app":                  func(r *gateway.Route) { r.Upstream.Dubbo.App = "Stock" },
		"upstream.dubbo.interface":            func(r *gateway.Route) { r.Upstream.Dubbo.Interface = "a b" },
		"upstream.dubbo.method":               func(r *gateway.Route) { r.Upstream.Dubbo.Method = "$invoke" },
		"upstream.dubbo.args[0].from":         func(r *gateway.Route) { r.Match.Path = "/stock/{id}" },
		"match.path":                          func(r *gateway.Route) { r.Match.Path = "stock" },
		"upstream.dubbo.attachments.generic":  func(r *gateway.Route) { r.Upstream.Dubbo.Attachments = map[string]string{"generic": "header.G"} },
		"upstream.dubbo.attachments.tenant":   func(r *gateway.Route) { r.Upstream.Dubbo.Attachments = map[string]string{"tenant": "query.t"} },
		"upstream.dubbo.attachments.a b":      func(r *gateway.Route) { r.Upstream.Dubbo.Attachments = map[string]string{"a b": "header.T"} },
		"upstream.dubbo.attachments.sub.path": func(r *gateway.Route) { r.Upstream.Dubbo.Attachments = map[string]string{"sub.path": "nonsense"} },
	} {
		r := s.route()
		change(&r)
		_, err := s.d.Compile(r)
		var e *gateway.Error
		if !errors.As(err, &e) || e.Code != gateway.Invalid || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if len(s.d.apps) != 0 {
		t.Error("a route that was refused follows its application")
	}
}
