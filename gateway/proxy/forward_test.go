package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

const every = `{"path":"/{all...}"}`

// deaf returns an address that refuses connections.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wire starts a server that does as it likes with each connection.
func (f *fixture) wire(serve func(c net.Conn, in *bufio.Reader)) string {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				serve(c, bufio.NewReader(c))
			})
		}
	})
	f.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// readHead reads a request's head.
func readHead(in *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

// instances makes servers on 127.0.0.2, .3, … with one port, as instances of one
// application have. A nil handler stands for one that refuses connections.
func (f *fixture) instances(app string, handlers ...http.HandlerFunc) []*httptest.Server {
	f.Helper()
	for range 50 {
		servers, err := f.tryInstances(app, handlers)
		if err == nil {
			return servers
		}
	}
	f.Fatal("no port is free on several addresses")
	return nil
}

func (f *fixture) tryInstances(app string, handlers []http.HandlerFunc) (servers []*httptest.Server, err error) {
	port := "0"
	var listeners []net.Listener
	for i := range handlers {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.%d:%s", i+2, port))
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, err
		}
		listeners = append(listeners, l)
		_, port, _ = net.SplitHostPort(l.Addr().String())
	}
	for i, h := range handlers {
		address := listeners[i].Addr().String()
		if h == nil {
			listeners[i].Close()
			servers = append(servers, nil)
		} else {
			s := httptest.NewUnstartedServer(h)
			s.Listener.Close()
			s.Listener = listeners[i]
			s.Start()
			f.Cleanup(s.Close)
			servers = append(servers, s)
		}
		f.instance(app, fmt.Sprint("pod-", i), address)
	}
	return servers, nil
}

// answering returns a handler that counts and answers.
func answering(n *atomic.Int64, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func TestRefusedConnectionGoesElsewhere(t *testing.T) {
	f := start(t, nil)
	var good atomic.Int64
	f.instances("cart", nil, answering(&good, 200, "ok"))
	f.routes(toApp("cart", every, "shop/cart"))
	for range 20 {
		if r := f.do("POST", "/x", strings.NewReader("body")); r.status != 200 {
			t.Fatalf("got %+v", r)
		}
	}
	if good.Load() != 20 {
		t.Errorf("%d requests arrived", good.Load())
	}
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":1}}`))
	// The endpoint is ejected by now, and one attempt is enough.
	if r := f.get("/x"); r.status != 200 {
		t.Errorf("an ejected endpoint was used: %+v", r)
	}
}

func TestOneAttemptIsOne(t *testing.T) {
	f := start(t, nil)
	f.routes(toURL("gone", every, "http://"+deaf(t), `{"retry":{"attempts":1}}`))
	r := f.get("/x")
	if r.status != http.StatusBadGateway || r.problem().Code != codeConnect || r.problem().Route != "shop/gone" {
		t.Errorf("got %+v", r)
	}
	if strings.Contains(r.body, "127.0.0.1") {
		t.Errorf("an address is told: %s", r.body)
	}
	if !strings.Contains(f.log.String(), "127.0.0.1") {
		t.Errorf("the log has no address: %s", f.log)
	}
}

func TestStatusIsTriedAgainElsewhere(t *testing.T) {
	f := start(t, nil)
	var bad, good atomic.Int64
	bodies := make(chan string, 100)
	f.instances("cart", answering(&bad, 503, "busy"), func(w http.ResponseWriter, r *http.Request) {
		good.Add(1)
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
	})
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":2,"on":["503"],"budgetPercent":100}}`))
	for range 20 {
		if r := f.do("PUT", "/x", strings.NewReader("hello")); r.status != 200 {
			t.Fatalf("got %+v", r)
		}
		if b := <-bodies; b != "hello" {
			t.Fatalf("the second attempt sent %q", b)
		}
	}
	if bad.Load() == 0 {
		t.Error("the bad instance was never asked")
	}
	before := bad.Load()
	statuses := map[int]int{}
	for range 30 {
		statuses[f.do("POST", "/x", strings.NewReader("once")).status]++
	}
	if statuses[503] == 0 || int64(statuses[503]) != bad.Load()-before {
		t.Errorf("POST was sent again: %v, bad instance asked %d times", statuses, bad.Load()-before)
	}
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":2,"on":["503"],"methods":["POST"],"budgetPercent":100}}`))
	for range 20 {
		if r := f.do("POST", "/x", strings.NewReader("again")); r.status != 200 {
			t.Fatalf("POST that the route allows: %+v", r)
		}
	}
	// A body of unknown length is not kept, so it cannot be sent again.
	statuses = map[int]int{}
	for range 30 {
		statuses[f.do("PUT", "/x", io.MultiReader(strings.NewReader("stream"))).status]++
	}
	if statuses[503] == 0 || statuses[200] == 0 {
		t.Errorf("a streamed body: %v", statuses)
	}
}

func TestEveryEndpointOnce(t *testing.T) {
	f := start(t, nil)
	var counts [3]atomic.Int64
	f.instances("cart", answering(&counts[0], 503, "0"), answering(&counts[1], 503, "1"), answering(&counts[2], 503, "2"))
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":10,"on":["503"]}}`))
	r := f.get("/x")
	if r.status != 503 || r.header.Get(ErrorHeader) != "" {
		t.Errorf("the last answer is the client's, got %+v", r)
	}
	for i := range counts {
		if counts[i].Load() != 1 {
			t.Errorf("endpoint %d was asked %d times", i, counts[i].Load())
		}
	}
}

func TestResetIsTriedAgain(t *testing.T) {
	f := start(t, nil)
	var good atomic.Int64
	servers := f.instances("cart", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, answering(&good, 200, "ok"))
	servers[0].Config.ErrorLog = quiet
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":2,"on":["reset"],"budgetPercent":100}}`))
	for range 20 {
		if r := f.get("/x"); r.status != 200 {
			t.Fatalf("got %+v", r)
		}
	}
}

func TestTimeouts(t *testing.T) {
	f := start(t, nil)
	var slow, good atomic.Int64
	hang := func(w http.ResponseWriter, r *http.Request) {
		slow.Add(1)
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done() // the gateway gives up
	}
	f.instances("cart", hang, answering(&good, 200, "ok"))
	f.routes(
		toApp("try", `{"path":"/try"}`, "shop/cart", `{"retry":{"attempts":2,"on":["timeout"],"budgetPercent":100}}`, `{"timeout":{"perTry":"20ms"}}`),
		toURL("total", `{"path":"/total"}`, f.upstream(hang).URL, `{"timeout":{"total":"20ms"}}`),
	)
	for range 10 {
		if r := f.get("/try"); r.status != 200 {
			t.Fatalf("got %+v", r)
		}
	}
	if slow.Load() == 0 {
		t.Error("the slow instance was never asked")
	}
	if r := f.get("/total"); r.status != http.StatusGatewayTimeout || r.problem().Code != codeTimeout {
		t.Errorf("got %+v", r)
	}
}

func TestBudgetEndsRetries(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := start(t, func(c *Config) { c.Metrics = reg })
	var n atomic.Int64
	f.instances("cart", slices.Repeat([]http.HandlerFunc{answering(&n, 503, "")}, 2)...)
	f.routes(toApp("cart", every, "shop/cart", `{"retry":{"attempts":2,"on":["503"],"budgetPercent":10}}`))
	const requests = 200
	for range requests {
		f.get("/x")
	}
	// Ten in reserve, and ten percent of what was asked.
	if retries := n.Load() - requests; retries < 20 || retries > 10+requests/10 {
		t.Errorf("%d requests were tried again %d times", requests, retries)
	}
	f.until("metrics", func() bool {
		return testutil.ToFloat64(f.proxy.metrics.requests.WithLabelValues("shop/cart", "5xx")) == requests
	})
	if testutil.ToFloat64(f.proxy.metrics.exhausted.WithLabelValues("shop/cart")) == 0 {
		t.Error("refused retries are not counted")
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
	// The numbers of a deleted route go.
	f.write(gateway.Write{Route: gateway.Route{Namespace: "shop", Name: "cart"}, Delete: true, Expect: gateway.AnyRevision})
	if n, err := testutil.GatherAndCount(reg, "weir_gateway_upstream_retries_total"); err != nil || n != 2 {
		t.Errorf("%d series of retries are left (%v), want those of no route and of the others", n, err)
	}
}

func TestBodyLimit(t *testing.T) {
	f := start(t, nil)
	var n atomic.Int64
	up := f.upstream(answering(&n, 200, "ok"))
	f.routes(toURL("cart", every, up.URL, `{"bodyLimit":10}`))
	for _, c := range []struct {
		body io.Reader
		want int
	}{
		{strings.NewReader("0123456789"), 200},
		{strings.NewReader("0123456789a"), 413},
		{io.MultiReader(strings.NewReader("0123456789")), 200},
		{io.MultiReader(strings.NewReader("0123456789a")), 413},
	} {
		if r := f.do("POST", "/x", c.body); r.status != c.want {
			t.Errorf("got %+v, want %d", r, c.want)
		}
	}
}

func TestFallback(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	f.routes(
		toURL("json", `{"path":"/json"}`, "http://"+deaf(t), `{"fallback":{"status":200,"body":{"items":[]},"headers":{"X-Degraded":"yes"}}}`),
		toURL("text", `{"path":"/text"}`, up.URL, `{"fallback":{"status":503,"on5xx":true,"body":"later","headers":{"Content-Type":"text/plain"}}}`),
		toURL("pass", `{"path":"/pass"}`, up.URL, `{"fallback":{"status":200,"body":{}}}`),
		toApp("none", `{"path":"/none"}`, "shop/nobody", `{"fallback":{"status":204}}`),
	)
	if r := f.get("/json"); r.status != 200 || r.body != `{"items":[]}` || r.header.Get("Content-Type") != "application/json" || r.header.Get("X-Degraded") != "yes" || r.header.Get(ErrorHeader) != codeConnect {
		t.Errorf("got %+v", r)
	}
	if r := f.get("/text"); r.status != 503 || r.body != "later" {
		t.Errorf("got %+v", r)
	}
	if r := f.get("/pass"); r.status != 500 || r.header.Get(ErrorHeader) != "" {
		t.Errorf("got %+v", r)
	}
	if r := f.get("/none"); r.status != 204 || r.header.Get(ErrorHeader) != codeNoEndpoint {
		t.Errorf("got %+v", r)
	}
}

func TestBreakerOpensAndPolicyRules(t *testing.T) {
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}})
	t.Cleanup(set.Close)
	f := start(t, func(c *Config) { c.Breakers = set })
	var n atomic.Int64
	status := atomic.Int64{}
	status.Store(500)
	f.instances("cart", func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		w.WriteHeader(int(status.Load()))
	})
	withBreaker := func(minCalls int) {
		f.routes(toApp("cart", every, "shop/cart", fmt.Sprintf(`{"breaker":{"minCalls":%d,"errorPercent":50,"openFor":"1h"}}`, minCalls)))
	}
	withBreaker(5)
	for range 5 {
		f.get("/x")
	}
	f.until("circuit open", func() bool { return f.get("/x").problem().Code == codeCircuitOpen })
	r := f.get("/x")
	if r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("got %+v", r)
	}
	asked := n.Load()
	withBreaker(6) // an edit resets nothing
	if r := f.get("/x"); r.problem().Code != codeCircuitOpen || n.Load() != asked {
		t.Errorf("after an edit: %+v", r)
	}
	if s := set.Status(); len(s) != 1 || s[0].Command != "shop/cart" || s[0].Peer.Name != "cart" || s[0].Effective.Breaker.MinCalls != 6 {
		t.Errorf("circuits: %+v", s)
	}

	cart := governance.App{Namespace: "shop", Name: "cart"}
	target := governance.Target{App: cart, Command: "shop/cart", At: governance.Caller}
	apply := func(r governance.Rules) {
		t.Helper()
		if err := set.Apply([]governance.Version{{Version: 1, Policy: governance.Policy{Namespace: "shop", Name: "p", Target: target, Rules: r}}}, 0); err != nil {
			t.Fatal(err)
		}
	}
	status.Store(200)
	apply(governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedClosed}})
	if r := f.get("/x"); r.status != 200 {
		t.Errorf("forced closed: %+v", r)
	}
	apply(governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: &governance.Fallback{Value: []byte(`{"degraded":true}`)}})
	if r := f.get("/x"); r.status != 200 || r.body != `{"degraded":true}` || r.header.Get(ErrorHeader) != codeSwitchedOff {
		t.Errorf("switched off with a value: %+v", r)
	}
	apply(governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}, Fallback: &governance.Fallback{Error: "closed for the night"}})
	if r := f.get("/x"); r.status != 503 || r.problem().Detail != "closed for the night" {
		t.Errorf("switched off with an error: %+v", r)
	}
}

func TestBulkhead(t *testing.T) {
	set := breaker.NewSet(breaker.Config{})
	t.Cleanup(set.Close)
	f := start(t, func(c *Config) { c.Breakers = set })
	in, out := make(chan struct{}), make(chan struct{})
	up := f.upstream(func(http.ResponseWriter, *http.Request) { in <- struct{}{}; <-out })
	f.routes(toURL("cart", every, up.URL, `{"breaker":{"concurrent":1}}`))
	var first sync.WaitGroup
	first.Go(func() { f.get("/x") })
	<-in
	if r := f.get("/x"); r.status != http.StatusTooManyRequests || r.problem().Code != codeTooMany {
		t.Errorf("got %+v", r)
	}
	close(out)
	first.Wait()
}

func TestPolicyTimeout(t *testing.T) {
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "w", Name: "gateway"}})
	t.Cleanup(set.Close)
	f := start(t, func(c *Config) { c.Breakers = set })
	f.instances("cart", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.routes(toApp("cart", every, "shop/cart"))
	if err := set.Apply([]governance.Version{{Version: 1, Policy: governance.Policy{Namespace: "shop", Name: "p",
		Target: governance.Target{App: governance.App{Namespace: "shop", Name: "cart"}, At: governance.Caller},
		Rules:  governance.Rules{Timeout: governance.Duration(10 * time.Millisecond)}}}}, 0); err != nil {
		t.Fatal(err)
	}
	if r := f.get("/x"); r.status != http.StatusGatewayTimeout {
		t.Errorf("got %+v", r)
	}
}

func TestClientThatGoesAwayEndsTheUpstreamRequest(t *testing.T) {
	f := start(t, nil)
	in, gone := make(chan struct{}), make(chan error, 1)
	up := f.upstream(func(_ http.ResponseWriter, r *http.Request) {
		close(in)
		<-r.Context().Done()
		gone <- r.Context().Err()
	})
	f.routes(toURL("cart", every, up.URL))
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+"/x", nil)
	go func() { <-in; cancel() }()
	if answer, err := f.client.Do(r); err == nil {
		answer.Body.Close()
		t.Error("an answer came")
	}
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("upstream saw %v", err)
	}
}

func TestLoop(t *testing.T) {
	f := start(t, nil)
	var passes atomic.Int64
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		passes.Add(1)
		r2, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, f.server.URL+"/x", nil)
		r2.Header = r.Header.Clone()
		answer, err := f.client.Do(r2)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
	})
	f.routes(toURL("loop", every, up.URL))
	if r := f.get("/x"); r.status != http.StatusLoopDetected || passes.Load() != maxPasses {
		t.Errorf("%d after %d passes", r.status, passes.Load())
	}
}

func TestForwardedInDisguise(t *testing.T) {
	f := start(t, nil)
	f.routes(toURL("cart", every, f.upstream(echo).URL))
	h := f.get("/x", "X_Forwarded_For", "6.6.6.6", "X-Forwarded_Proto", "https", "x_real_ip", "6.6.6.6", "X-Forwarded-Prefix", "/evil", "X-Real-Ip", "6.6.6.6", "Forwarded", "for=6.6.6.6", "X-For", "kept", "Proxy", "http://6.6.6.6/").echoed(t).Header
	for name, values := range h {
		if strings.Contains(strings.Join(values, " "), "6.6.6.6") || strings.Contains(name, "_") || name == "X-Forwarded-Prefix" {
			t.Errorf("%s: %v", name, values)
		}
	}
	if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("X-For") != "kept" {
		t.Errorf("got %v", h)
	}
}

func TestTrustedPeer(t *testing.T) {
	f := start(t, func(c *Config) { c.TrustedPeers = prefixes(t, "127.0.0.0/8") })
	f.routes(toURL("cart", every, f.upstream(echo).URL))
	h := f.get("/x", "X_Forwarded_For", "6.6.6.6", "X-Forwarded-For", "1.2.3.4, 5.6.7.8", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example", "Forwarded", "for=1.2.3.4").echoed(t).Header
	if h.Get("X-Forwarded-For") != "1.2.3.4, 5.6.7.8, 127.0.0.1" || h.Get("X-Forwarded-Proto") != "https" || h.Get("X-Forwarded-Host") != "shop.example" || h.Get("Forwarded") != "for=1.2.3.4" || h.Get("X_Forwarded_For") != "" {
		t.Errorf("got %v", h)
	}
}

func TestHeadersAndHost(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Order", "upstream")
		w.Header().Set("X-Gone", "1")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Location", "http://elsewhere.example/")
		if r.URL.Path == "/moved" {
			w.WriteHeader(http.StatusFound)
			return
		}
		echo(w, r)
	})
	f.routes(
		toURL("edit", `{"path":"/edit"}`, up.URL,
			`{"requestHeaders":{"remove":["x-a"],"set":{"x-b":"2"},"add":{"x-c":"3"}}}`,
			`{"responseHeaders":{"set":{"X-Order":"first"}}}`, `{"responseHeaders":{"remove":["x-gone"],"set":{"X-Order":"second"}}}`),
		toURL("up", `{"path":"/up"}`, up.URL, `{"hostHeader":"upstream"}`),
		toURL("name", `{"path":"/name"}`, up.URL, `{"hostHeader":"inner.example"}`),
		toURL("moved", `{"path":"/moved"}`, up.URL),
	)
	r := f.get("/edit", "X-A", "1", "X-B", "1", "X-C", "1", "Host", "shop.example")
	e := r.echoed(t)
	if e.Header["X-A"] != nil || e.Header.Get("X-B") != "2" || strings.Join(e.Header["X-C"], ",") != "1,3" || e.Host != "shop.example" {
		t.Errorf("sent %+v", e)
	}
	// On the response the filters run backwards.
	if r.header.Get("X-Order") != "first" || r.header.Get("X-Gone") != "" || r.header.Get("X-Hop") != "" {
		t.Errorf("answered %v", r.header)
	}
	if e := f.get("/up").echoed(t); "http://"+e.Host != up.URL {
		t.Errorf("host %s", e.Host)
	}
	if e := f.get("/name").echoed(t); e.Host != "inner.example" {
		t.Errorf("host %s", e.Host)
	}
	if r := f.get("/moved"); r.status != 302 || r.header.Get("Location") != "http://elsewhere.example/" {
		t.Errorf("a redirect was followed: %+v", r)
	}
}

func TestPolicyOnARouteBeyondTheCircuits(t *testing.T) {
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "weir-system", Name: "gateway"}, MaxCircuits: 1})
	t.Cleanup(set.Close)
	f := start(t, func(c *Config) { c.Breakers = set })
	f.instances("cart", echo)
	f.routes(toApp("first", `{"path":"/first"}`, "shop/cart"), toApp("second", `{"path":"/second"}`, "shop/cart"))
	for _, path := range []string{"/first", "/second"} {
		if r := f.get(path); r.status != 200 {
			t.Errorf("%s: %+v", path, r)
		}
	}
	p := governance.Policy{
		Namespace: "shop", Name: "p", Kind: governance.KindSwitch,
		Target: governance.Target{App: governance.App{Namespace: "shop", Name: "cart"}, Command: "shop/second", At: governance.Caller},
		Rules:  governance.Rules{Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen}},
	}
	if err := set.Apply([]governance.Version{{Version: 1, Policy: p}}, 0); err != nil {
		t.Fatal(err)
	}
	if r := f.get("/second"); r.problem().Code != codeSwitchedOff {
		t.Errorf("got %+v", r)
	}
	if r := f.get("/first"); r.status != 200 {
		t.Errorf("got %+v", r)
	}
}
