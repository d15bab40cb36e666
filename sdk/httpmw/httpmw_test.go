package httpmw_test

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
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openzipkin/zipkin-go/model"
	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/breaker"
	"github.com/weirmesh/weir/sdk/httpmw"
	"github.com/weirmesh/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves h on this machine and returns a client of one's own for it.
func serve(t *testing.T, h http.Handler) (*httptest.Server, *http.Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return s, &http.Client{Transport: tr}
}

type answer struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, c *http.Client, url string, header ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

func mustGet(t *testing.T, c *http.Client, url string, header ...string) answer {
	t.Helper()
	a, err := get(t, c, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// publish puts one policy in force and waits for it.
func publish(t *testing.T, mesh *sdktest.Mesh, kit *sdk.Kit, at governance.At, app, command string, rules governance.Rules) governance.Policy {
	t.Helper()
	a, err := governance.ParseApp(app)
	if err != nil {
		t.Fatal(err)
	}
	p := governance.Policy{Target: governance.Target{App: a, Command: command, At: at}, Rules: rules}
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	return p
}

func value(s string) *governance.Fallback { return &governance.Fallback{Value: json.RawMessage(s)} }

var forcedOpen = &governance.Breaker{Mode: governance.ModeForcedOpen}

func cartMux(status *atomic.Int64) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cart/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if s := int(status.Load()); s != 200 {
			w.WriteHeader(s)
		}
		_, _ = io.WriteString(w, "cart "+r.PathValue("id"))
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		w.(http.Flusher).Flush()
	})
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhello")
		_ = rw.Flush()
		_ = conn.Close()
	})
	return mux
}

func TestServer(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/cart")
	var status atomic.Int64
	status.Store(200)
	s, client := serve(t, httpmw.Server(kit)(cartMux(&status)))
	const command = "GET /cart/{id}"

	if a := mustGet(t, client, s.URL+"/cart/7"); a.status != 200 || a.body != "cart 7" {
		t.Fatalf("%+v", a)
	}
	if a := mustGet(t, client, s.URL+"/stream"); a.body != "one" {
		t.Errorf("%+v", a)
	}
	if a := mustGet(t, client, s.URL+"/nowhere/at/all"); a.status != 404 {
		t.Errorf("%+v", a)
	}
	if _, err := get(t, client, s.URL+"/panic"); err == nil {
		t.Error("a panic was swallowed")
	}
	a := mustGet(t, client, s.URL+"/upgrade", "Connection", "Upgrade", "Upgrade", "test")
	if a.status != 101 {
		t.Errorf("%+v", a)
	}

	// Switched off, then with an answer in place.
	pull := sdktest.Switch("shop/cart", command)
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	a = mustGet(t, client, s.URL+"/cart/7")
	if a.status != 503 || a.header.Get("Content-Type") != "application/problem+json" || a.header.Get(httpmw.HeaderRefused) != "switched" || !strings.Contains(a.body, `"status":503`) ||
		!strings.HasPrefix(a.header.Get(httpmw.HeaderPolicy), "shop/cart.GET-cart-id.switch; version=") {
		t.Errorf("switched off: %+v", a)
	}
	pull.Fallback = value(`{"items":[]}`)
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, kit)
	a = mustGet(t, client, s.URL+"/cart/7")
	if a.status != 200 || a.body != `{"items":[]}` || a.header.Get("Content-Type") != "application/json" || a.header.Get(httpmw.HeaderFallback) != "value" || a.header.Get(httpmw.HeaderPolicy) == "" {
		t.Errorf("switched off with an answer: %+v", a)
	}
	mesh.Delete(pull)
	mesh.WaitApplied(t, kit)

	// A failure, as it is and with an answer in place.
	status.Store(500)
	if a := mustGet(t, client, s.URL+"/cart/7"); a.status != 500 || a.body != "cart 7" {
		t.Errorf("failed: %+v", a)
	}
	p := publish(t, mesh, kit, "", "shop/cart", command, governance.Rules{Fallback: &governance.Fallback{Error: "closed on Sundays"}})
	if a := mustGet(t, client, s.URL+"/cart/7"); a.status != 503 || !strings.Contains(a.body, "closed on Sundays") || a.header.Get("Etag") != "" {
		t.Errorf("failed with an error in place: %+v", a)
	}
	p.Fallback = &governance.Fallback{Empty: true}
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	if a := mustGet(t, client, s.URL+"/cart/7"); a.status != 204 || a.body != "" || a.header.Get(httpmw.HeaderFallback) != "empty" {
		t.Errorf("failed with nothing in place: %+v", a)
	}

	// The last good answer to the same call.
	p.Fallback = &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Hour)}, Else: value(`"else"`)}
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	status.Store(200)
	mustGet(t, client, s.URL+"/cart/8")
	status.Store(502)
	if a := mustGet(t, client, s.URL+"/cart/8"); a.status != 200 || a.body != "cart 8" || a.header.Get(httpmw.HeaderFallback) != "cached" {
		t.Errorf("failed with a kept answer: %+v", a)
	}
	if a := mustGet(t, client, s.URL+"/cart/8", "Authorization", "somebody else"); a.body != `"else"` {
		t.Errorf("somebody else got what was kept for another: %+v", a)
	}

	// A timeout of the policy's ends the request's context.
	publish(t, mesh, kit, "", "shop/cart", "GET /slow", governance.Rules{Timeout: governance.Duration(time.Millisecond)})
	if a := mustGet(t, client, s.URL+"/slow"); a.status != 504 {
		t.Errorf("too slow: %+v", a)
	}

	if err := kit.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := mesh.Counts("shop/cart", command)
	want := governance.Counts{Success: 2, Failure: 5, Switched: 2, FallbackSuccess: 4}
	if c != want {
		t.Errorf("told of %+v, want %+v", c, want)
	}
	if c := mesh.Counts("shop/cart", "GET /panic"); c.Failure == 0 { // net/http's client may have tried again
		t.Errorf("of the panic it was told %+v", c)
	}
	if c := mesh.Counts("shop/cart", "GET /upgrade"); c.Success != 1 {
		t.Errorf("of the upgrade it was told %+v", c)
	}
	if c := mesh.Counts("shop/cart", "GET /slow"); c.Timeout != 1 {
		t.Errorf("of the timeout it was told %+v", c)
	}
	spans := mesh.Spans()
	switched := slices.IndexFunc(spans, func(s model.SpanModel) bool {
		return len(s.Annotations) > 0 && strings.HasPrefix(s.Annotations[0].Value, "weir.refused switched by shop/cart.GET-cart-id.switch version 1")
	})
	if switched < 0 || spans[switched].Name != "get /cart/{id}" || spans[switched].Tags["http.status_code"] != "503" || spans[switched].Kind != model.Server {
		t.Errorf("no span tells of the switch: %+v", spans)
	}
	for want, n := range map[string]int{
		"weir.command " + command: 9, "weir.command GET /slow": 1,
		"weir.refused switched": 2, "weir.policy shop/cart.GET-cart-id.switch": 2, "weir.policy.version 1": 1,
		"weir.fallback value": 2, "weir.fallback error": 1, "weir.fallback empty": 1, "weir.fallback cached": 1,
	} {
		key, value, _ := strings.Cut(want, " ")
		have := 0
		for _, s := range spans {
			if got, ok := s.Tags[key]; ok && got == value {
				have++
			}
		}
		if have != n {
			t.Errorf("%d spans have %s, want %d", have, want, n)
		}
	}
	for _, s := range spans {
		if strings.Contains(s.Name, "nowhere") {
			t.Errorf("a span is named for a path: %q", s.Name)
		}
	}
}

func TestServerFindsTheCommand(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/cart")
	mux := http.NewServeMux()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/any/{id}", ok)
	mux.Handle("POST shop.example.com/hosted/", ok)
	mux.Handle("/inner/{id}", httpmw.Server(kit)(ok)) // the mux has routed it here already
	around := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, r) })
	do := func(h http.Handler, method, target string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody))
		if w.Code != 200 && w.Code != 404 {
			t.Errorf("%s %s: %d", method, target, w.Code)
		}
	}
	do(httpmw.Server(kit, httpmw.Routes(mux))(around), "GET", "/any/1")
	do(httpmw.Server(kit, httpmw.Routes(mux))(around), "BREW", "/any/2")
	do(httpmw.Server(kit)(mux), "POST", "http://shop.example.com/hosted/x")
	do(around, "GET", "/inner/9")
	do(httpmw.Server(kit)(around), "GET", "/any/3") // unknown to it
	do(httpmw.Server(kit, httpmw.CommandOf(func(r *http.Request) string { return "own " + r.Method }))(around), "PUT", "/any/4")
	var got []string
	for _, s := range kit.Breakers().Status() {
		got = append(got, s.Command)
	}
	want := []string{"GET /any/{id}", "OTHER /any/{id}", "POST shop.example.com/hosted/", "GET /inner/{id}", "own PUT"}
	if !slices.Equal(got, want) {
		t.Errorf("commands are %q, want %q", got, want)
	}
}

// elsewhere is a transport that reaches one server, whatever the host of the URL.
func elsewhere(t *testing.T, s *httptest.Server) http.RoundTripper {
	t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func TestClient(t *testing.T) {
	mesh := sdktest.Start(t)
	provider := mesh.Kit(t, "shop/cart")
	kit := mesh.Kit(t, "shop/storefront")
	var status atomic.Int64
	status.Store(200)
	s, _ := serve(t, httpmw.Server(provider)(cartMux(&status)))
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(elsewhere(t, s)), httpmw.Patterns("GET /cart/{id}"))}
	const url, command = "http://cart.shop.svc:8080/cart/7", "GET /cart/{id}"

	if a := mustGet(t, client, url); a.status != 200 || a.body != "cart 7" {
		t.Fatalf("%+v", a)
	}
	status.Store(503)
	if a := mustGet(t, client, url); a.status != 503 || a.body != "cart 7" {
		t.Errorf("a failure is answered as it is: %+v", a)
	}
	declared(t, mesh)
	p := publish(t, mesh, kit, governance.Caller, "shop/cart", command, governance.Rules{Fallback: value(`{"items":[]}`)})
	if a := mustGet(t, client, url); a.status != 200 || a.body != `{"items":[]}` || a.header.Get(httpmw.HeaderFallback) != "value" {
		t.Errorf("a failure with an answer in place: %+v", a)
	}
	p.Rules = governance.Rules{Fallback: &governance.Fallback{Cached: &governance.Cached{MaxAge: governance.Duration(time.Hour)}}}
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	status.Store(200)
	mustGet(t, client, url)
	status.Store(500)
	if a := mustGet(t, client, url); a.status != 200 || a.body != "cart 7" || a.header.Get(httpmw.HeaderFallback) != "cached" {
		t.Errorf("a failure with a kept answer: %+v", a)
	}
	p.Rules = governance.Rules{Breaker: forcedOpen}
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	_, err := get(t, client, url)
	var refused *breaker.Refused
	if !errors.As(err, &refused) || refused.Series.Peer.String() != "shop/cart" || refused.Series.Command != command {
		t.Errorf("switched off: %v", err)
	}
	p.Rules = governance.Rules{Timeout: governance.Duration(time.Millisecond)}
	p.Target.Command, p.Name = "", "slow"
	mesh.Publish(t, p)
	mesh.WaitApplied(t, kit)
	if _, err := get(t, client, "http://cart.shop/slow"); err == nil || !strings.Contains(err.Error(), "shop/slow, version") {
		t.Errorf("too slow: %v", err)
	}
	if err := errors.Join(kit.Close(t.Context()), provider.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	want := governance.Counts{Success: 2, Failure: 3, Switched: 1, FallbackSuccess: 2}
	if c := mesh.Counts("shop/storefront", command); c != want {
		t.Errorf("told of %+v, want %+v", c, want)
	}
	if c := mesh.Counts("shop/storefront", "GET *"); c.Timeout != 1 {
		t.Errorf("of the timeout it was told %+v", c)
	}
	// One trace holds both sides.
	byID := map[model.ID]model.SpanModel{}
	for _, s := range mesh.Spans() {
		if s.Kind == model.Client {
			byID[s.ID] = s
		}
	}
	joined := 0
	for _, s := range mesh.Spans() {
		if s.Kind != model.Server {
			continue
		}
		if s.ParentID == nil || byID[*s.ParentID].TraceID != s.TraceID || byID[*s.ParentID].RemoteEndpoint.ServiceName != "cart" {
			t.Errorf("the server's span hangs from nothing: %+v", s)
		} else {
			joined++
		}
	}
	if joined < 5 {
		t.Errorf("%d calls are traced on both sides", joined)
	}
}

// declared waits until the control plane knows whom a caller calls.
func declared(t *testing.T, mesh *sdktest.Mesh) {
	t.Helper()
	mesh.Wait(t, "the call to be declared", func() bool {
		return slices.ContainsFunc(mesh.Instances(), func(i sdktest.Instance) bool { return len(i.Calls) > 0 })
	})
}

// TestSwitchedOffServer holds that a switch at the server leaves no mark on its
// callers' circuits.
func TestSwitchedOffServer(t *testing.T) {
	mesh := sdktest.Start(t)
	provider := mesh.Kit(t, "shop/cart")
	kit := mesh.Kit(t, "shop/storefront")
	var status atomic.Int64
	status.Store(200)
	s, _ := serve(t, httpmw.Server(provider)(cartMux(&status)))
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(elsewhere(t, s)), httpmw.Patterns("GET /cart/{id}"))}
	pull := sdktest.Switch("shop/cart", "GET /cart/{id}")
	mesh.Publish(t, pull)
	mesh.WaitApplied(t, provider)
	for range 40 {
		if a := mustGet(t, client, "http://cart.shop/cart/1"); a.status != 503 {
			t.Fatalf("%+v", a)
		}
	}
	declared(t, mesh)
	publish(t, mesh, kit, governance.Caller, "shop/cart", "", governance.Rules{Fallback: value(`"instead"`)})
	if a := mustGet(t, client, "http://cart.shop/cart/1"); a.body != `"instead"` {
		t.Errorf("the caller's fallback does not answer: %+v", a)
	}
	mesh.Delete(pull)
	mesh.WaitApplied(t, provider)
	if a := mustGet(t, client, "http://cart.shop/cart/1"); a.status != 200 || a.body != "cart 1" {
		t.Errorf("released: %+v", a)
	}
}

func TestClientEndsWithTheBody(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/storefront")
	release := make(chan struct{})
	s, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		<-release
	}))
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(elsewhere(t, s)), httpmw.Peer(governance.App{Namespace: "shop", Name: "cart"}))}
	inFlight := func() int { return kit.Breakers().Status()[0].InFlight }
	ctx := httpmw.WithCommand(t.Context(), "GET /feed")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if inFlight() != 1 || kit.Breakers().Status()[0].Command != "GET /feed" {
		t.Errorf("while its body comes the call is over: %+v", kit.Breakers().Status())
	}
	close(release)
	if text, err := io.ReadAll(resp.Body); string(text) != "one" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if inFlight() != 0 {
		t.Error("the call is not over with its body")
	}
	_ = resp.Body.Close()
	// A caller that goes away is no failure.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req = req.Clone(ctx)
	if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestHostsNameApplications(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/storefront")
	s, _ := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(elsewhere(t, s)))}
	for _, host := range []string{"orders", "orders.bank", "orders.bank.svc:81", "Orders.bank.svc.cluster.local", "10.0.0.1:8080", "localhost:8080", "api.example.com", "[::1]:80"} {
		mustGet(t, client, "http://"+host+"/x/1")
	}
	var got []string
	for _, s := range kit.Breakers().Status() {
		got = append(got, s.Peer.String()+" "+s.Command)
	}
	want := []string{"shop/orders GET *", "bank/orders GET *", " GET 10.0.0.1:8080", " GET localhost:8080", " GET api.example.com", " GET [::1]:80"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDiscover(t *testing.T) {
	mesh := sdktest.Start(t)
	cfg := mesh.Config(t, "shop/storefront")
	cfg.Settings.Breaker = &governance.Breaker{Mode: governance.ModeDisabled} // what fails here is tried at once
	kit := mesh.KitWith(t, cfg)
	var hits [2]atomic.Int64
	reg := memory.New()
	app := registry.App{Namespace: "shop", Name: "cart"}
	var port uint16
	for i, host := range []string{"127.0.0.1", "127.0.0.2"} {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			t.Fatal(err)
		}
		addr := netip.MustParseAddrPort(l.Addr().String())
		port = addr.Port()
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits[i].Add(1)
			_, _ = io.WriteString(w, r.Host)
		}))
		_ = s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		reg.PutInstance(app, registry.Instance{ID: fmt.Sprint("i", i), Name: fmt.Sprint("cart-", i), Host: addr.Addr(), Health: registry.Ready})
	}
	reg.PutService(app, registry.Service{Host: "cart.shop.svc", Ports: []registry.ServicePort{{Port: 80, Target: port}}})
	member := reg.Join(memory.Config{})
	t.Cleanup(member.Close)
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(tr), httpmw.Discover(member))}
	t.Cleanup(client.CloseIdleConnections)
	for range 40 {
		if a := mustGet(t, client, "http://cart.shop/x"); a.body != "cart.shop" {
			t.Fatalf("the Host header is %q", a.body)
		}
	}
	if hits[0].Load() == 0 || hits[1].Load() == 0 || hits[0].Load()+hits[1].Load() != 40 {
		t.Errorf("hits are %d and %d", hits[0].Load(), hits[1].Load())
	}
	// An instance that is listed and gone costs no call.
	reg.PutInstance(app, registry.Instance{ID: "i2", Name: "cart-2", Host: netip.MustParseAddr("127.0.0.3"), Health: registry.Ready})
	for range 40 {
		mustGet(t, client, "http://cart.shop/x")
	}
	// None left: an error that says so.
	for _, id := range []string{"i0", "i1", "i2"} {
		reg.SetHealth(app, id, registry.NotReady)
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := get(t, client, "http://cart.shop/x")
		if err != nil && strings.Contains(err.Error(), "none of the 3 instances of shop/cart") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with no instance ready: %v", err)
		}
	}
	// Where calls go through the Service, its name is called.
	reg.SetMode(app, registry.ModeService)
	for {
		_, err := get(t, client, "http://cart.shop:"+fmt.Sprint(port)+"/x")
		var dns *net.DNSError
		if errors.As(err, &dns) && dns.Name == "cart.shop.svc" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("in Service mode: %v", err)
		}
	}
}
