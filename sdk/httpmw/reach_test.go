package httpmw_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// An instance that is listed and takes no connection costs no call, whatever is sent,
// and is left alone after that.
func TestDeadInstancesCostNoCall(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	w.dead(0)
	c := w.client(w.transport())
	calls, stop := w.load(c)
	w.more(calls, 200)
	w.dead(1)
	w.more(calls, 200)
	stop()
}

// A call under way in an instance that leaves ends there; new ones go elsewhere.
func TestInstancesLeaveUnderLoad(t *testing.T) {
	hold, held := make(chan struct{}), make(chan string, 1)
	w := newWorld(t, 3, false, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/hold" {
			held <- rw.Header().Get("X-Instance")
			<-hold
		}
		_, _ = io.WriteString(rw, "done")
	})
	c := w.client(w.transport())
	calls, stop := w.load(c)
	var long sync.WaitGroup
	long.Go(func() {
		if a, err := get(t, c, "http://cart.shop/hold"); err != nil || a.body != "done" {
			t.Errorf("the call under way: %+v, %v", a, err)
		}
	})
	id := <-held
	at := slices.IndexFunc(w.servers, func(s *server) bool { return s.id == id })
	w.put(w.servers[at], func(i *registry.Instance) { i.Details.State = registry.Draining })
	w.until("it gets nothing new", func() bool {
		before := w.servers[at].hits.Load()
		w.more(calls, 50)
		return w.servers[at].hits.Load() == before
	})
	w.reg.RemoveInstance(cart, id)
	w.more(calls, 50)
	close(hold)
	long.Wait()
	w.servers[at].Close()
	w.more(calls, 50)
	stop()
}

func TestConnectionsAreKeptForEachAddress(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	c := w.client(w.transport())
	for range 50 {
		mustGet(t, c, "http://cart.shop/x")
	}
	for _, s := range w.servers {
		if s.hits.Load() == 0 || s.conns.Load() != 1 {
			t.Errorf("%s has %d calls and %d connections", s.id, s.hits.Load(), s.conns.Load())
		}
	}
}

// Certificates are for the name that was called, not for the address of a pod; and
// HTTP/2 is spoken where it can be.
func TestTLS(t *testing.T) {
	w := newWorld(t, 2, true, func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Proto) })
	roots := x509.NewCertPool()
	tr := w.transport()
	tr.ForceAttemptHTTP2 = true
	roots.AddCert(w.servers[0].Certificate())
	tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	c := w.client(tr)
	// httptest's certificate is for example.com, which no application is called.
	w.reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "https", Port: 443, Target: w.port}}})
	_, err := get(t, c, "https://cart.shop/x")
	if err == nil || !strings.Contains(err.Error(), "not cart.shop") {
		t.Fatalf("a certificate for another name was taken: %v", err)
	}
	w.reg.PutService(registry.App{Namespace: "com", Name: "example"}, registry.Service{Ports: []registry.ServicePort{{Name: "https", Port: 443, Target: w.port}}})
	for _, s := range w.servers {
		w.reg.PutInstance(registry.App{Namespace: "com", Name: "example"}, registry.Instance{ID: s.id, Host: s.host})
	}
	for range 40 {
		if a := mustGet(t, c, "https://example.com/x"); a.body != "HTTP/2.0" {
			t.Fatalf("%+v", a)
		}
	}
	for _, s := range w.servers {
		if s.hits.Load() == 0 {
			t.Errorf("%s was never called", s.id)
		}
	}
	// A Service that says secured is called by TLS, as Spring Cloud does.
	w.reg.PutService(registry.App{Namespace: "com", Name: "example"}, registry.Service{Ports: []registry.ServicePort{{Name: "web", Port: 80, Target: w.port, Secured: true}}})
	w.until("TLS is spoken", func() bool {
		a, err := get(t, c, "http://example.com/x")
		return err == nil && a.body == "HTTP/2.0"
	})
}

// What a transport speaks over TLS it speaks to instances, too, whatever it was made
// of: HTTP/2 where nothing speaks against it, and HTTP/1.1 where something does.
func TestProtocolsOfTheTransportAreKept(t *testing.T) {
	trusting := func(base *http.Transport, w *world) *http.Transport {
		base.Clone() // decides what it speaks
		if base.TLSClientConfig == nil {
			base.TLSClientConfig = new(tls.Config)
		}
		base.TLSClientConfig.RootCAs = x509.NewCertPool()
		base.TLSClientConfig.RootCAs.AddCert(w.servers[0].Certificate())
		return base
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	for name, c := range map[string]struct {
		base *http.Transport
		want string
	}{
		"bare":               {&http.Transport{}, "HTTP/2.0"},
		"with a TLS config":  {&http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}, "HTTP/1.1"},
		"with an empty map":  {&http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, "HTTP/1.1"},
		"that is forced":     {&http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}, "HTTP/2.0"},
		"that says HTTP/1.1": {&http.Transport{Protocols: protocols}, "HTTP/1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1, true, func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, r.Proto) })
			example := registry.App{Namespace: "com", Name: "example"}
			w.reg.PutService(example, registry.Service{Ports: []registry.ServicePort{{Name: "https", Port: 443, Target: w.port}}})
			w.reg.PutInstance(example, registry.Instance{ID: w.servers[0].id, Host: w.servers[0].host})
			base := trusting(c.base, w)
			for range 2 {
				if a := mustGet(t, w.client(base), "https://example.com/x"); a.body != c.want {
					t.Errorf("spoke %s, want %s", a.body, c.want)
				}
			}
		})
	}
}

func TestPortsOfTheService(t *testing.T) {
	w := newWorld(t, 1, false, nil)
	c := w.client(w.transport())
	ports := func(p ...registry.ServicePort) { w.reg.PutService(cart, registry.Service{Ports: p}) }
	right := registry.ServicePort{Name: "web", Port: 8000, Target: w.port, Primary: true}
	wrong := registry.ServicePort{Name: "admin", Port: 9000, Target: 1}
	mustGet(t, c, "http://cart.shop/x")
	ports(wrong, right)
	for _, url := range []string{"http://cart.shop/x", "http://cart.shop:8000/x"} {
		w.until(url, func() bool { _, err := get(t, c, url); return err == nil })
	}
	// The instances' own port, which the Service need not have.
	mustGet(t, c, "http://cart.shop:"+w.servers[0].Listener.Addr().(*net.TCPAddr).AddrPort().String()[len("127.0.0.1:"):]+"/x")
	right.Primary = false
	ports(wrong, right)
	w.until("the error says what to do", func() bool {
		_, err := get(t, c, "http://cart.shop/x")
		return err != nil && strings.Contains(err.Error(), "shop/cart cannot be called: the Service has 2 ports") && strings.Contains(err.Error(), "write the port into the URL")
	})
}

func TestTagsReachTheirInstances(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	w.put(w.servers[1], func(i *registry.Instance) { i.Details.Tag = "v2" })
	c := w.client(w.transport())
	w.until("both are known", func() bool { mustGet(t, c, "http://cart.shop/x"); return true })
	for range 30 {
		req, err := http.NewRequestWithContext(httpmw.WithTag(t.Context(), "v2"), http.MethodGet, "http://cart.shop/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		mustGet(t, c, "http://cart.shop/x")
	}
	if got := w.hits(); got[0] != 31 || got[1] != 30 {
		t.Errorf("hits %v, want 31 without a tag and 30 with", got)
	}
}

// The zone is that of this instance, as the registry knows it.
func TestOwnZoneIsCalledFirst(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	for n, s := range w.servers {
		w.put(s, func(i *registry.Instance) { i.Zone = []string{"a", "b"}[n] })
	}
	w.reg.PutInstance(registry.App{Namespace: "shop", Name: "storefront"}, registry.Instance{ID: w.kit.Instance(), Host: netip.MustParseAddr("127.0.0.9"), Zone: "b"})
	c := w.client(w.transport(), httpmw.SameZone(50, ""))
	w.until("only zone b is called", func() bool {
		before := w.hits()
		for range 20 {
			mustGet(t, c, "http://cart.shop/x")
		}
		after := w.hits()
		return after[0] == before[0] && after[1] == before[1]+20
	})
	w.reg.SetHealth(cart, "i1", registry.NotReady) // and others where it has none
	w.until("zone a is called", func() bool {
		before := w.hits()[0]
		mustGet(t, c, "http://cart.shop/x")
		return w.hits()[0] > before
	})
}

// The way of calling changes live, in both directions, and no call fails by it.
func TestCallModeIsLive(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	c := w.client(w.transport())
	calls, stop := w.load(c)
	defer stop()
	w.more(calls, 50)
	byService := func() bool {
		before := w.turn.Load()
		c.CloseIdleConnections() // connections to the Service stay open, too
		w.more(calls, 20)
		return w.turn.Load() > before
	}
	w.reg.SetMode(cart, registry.ModeService)
	w.until("the Service is called", byService)
	w.reg.SetMode(cart, registry.ModePod)
	w.until("instances are called", func() bool { return !byService() })
	// A Service that takes no connection is not insisted on.
	w.service.Store(&[]string{})
	w.reg.SetMode(cart, registry.ModeService)
	w.more(calls, 200)
}

func TestCallModeOfTheProgramComesFirst(t *testing.T) {
	w := newWorld(t, 2, false, nil)
	w.reg.SetMode(cart, registry.ModeService)
	w.service.Store(&[]string{})
	c := w.client(w.transport(), httpmw.CallMode(registry.ModePod))
	for range 20 {
		mustGet(t, c, "http://cart.shop/x")
	}
	if w.turn.Load() != 0 {
		t.Error("the Service was called")
	}
	w.reg.SetMode(cart, registry.ModePod)
	c = w.client(w.transport(), httpmw.CallMode(registry.ModeService))
	if _, err := get(t, c, "http://cart.shop/x"); err == nil || !strings.Contains(err.Error(), "no endpoint of cart.shop.svc") {
		t.Errorf("the Service was not called: %v", err)
	}
}

// Over HTTP/2 all calls would share a connection, and with it one pod.
func TestServiceModeSpreadsOverPods(t *testing.T) {
	w := newWorld(t, 3, false, nil)
	tr := w.transport()
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
	w.reg.SetMode(cart, registry.ModeService)
	c := w.client(tr)
	for range 24 {
		mustGet(t, c, "http://cart.shop/x")
	}
	for _, s := range w.servers {
		if s.hits.Load() == 0 {
			t.Errorf("%s was never called", s.id)
		}
	}
	if n := w.turn.Load(); n > 8 {
		t.Errorf("there are %d connections", n)
	}
}

func TestHostsThatNameNoApplication(t *testing.T) {
	w := newWorld(t, 1, false, nil)
	elsewhere := &http.Transport{DialContext: w.transport().DialContext}
	dialed := make(chan string, 10)
	dial := elsewhere.DialContext
	elsewhere.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialed <- address
		return dial(ctx, network, w.servers[0].Listener.Addr().String())
	}
	c := w.client(elsewhere)
	for _, host := range []string{"api.example.com", "127.0.0.1:81", "nobody.shop"} {
		mustGet(t, c, "http://"+host+"/x")
		if got := <-dialed; !strings.HasPrefix(got, host) {
			t.Errorf("%s led to %s", host, got)
		}
	}
	strict := w.client(elsewhere, httpmw.Strict())
	for host, want := range map[string]string{
		"api.example.com": "the host api.example.com names no application: write it as name or name.namespace.svc",
		"nobody.shop":     "the registry knows no application shop/nobody: deploy it with a Service of its name, correct the host nobody.shop",
	} {
		if _, err := get(t, strict, "http://"+host+"/x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", host, err, want)
		}
	}
	mustGet(t, strict, "http://cart/x")
	<-dialed
	// Only these namespaces are asked for by hosts that could be names on the internet.
	w.reg.PutService(registry.App{Namespace: "com", Name: "example"}, registry.Service{Ports: []registry.ServicePort{{Port: 80, Target: 1}}})
	within := w.client(elsewhere, httpmw.Namespaces("shop"))
	mustGet(t, within, "http://example.com/x")
	if got := <-dialed; got != "example.com:80" {
		t.Errorf("example.com led to %s", got)
	}
}

// A body that was sent in part is not sent again, and every body is closed.
func TestBodies(t *testing.T) {
	w := newWorld(t, 1, false, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "early") })
	tr := w.transport()
	tr.ExpectContinueTimeout = time.Minute
	c := w.client(tr)
	for name, url := range map[string]string{"answered": "http://cart.shop/x", "never read": "http://cart.shop/x", "not connected": "http://cart.shop:1/x", "no port": "http://cart.shop:0/x"} {
		b := newClosing("body")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, b)
		if err != nil {
			t.Fatal(err)
		}
		if name == "never read" {
			req.Header.Set("Expect", "100-continue")
		}
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		select {
		case <-b.closed:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the body was not closed", name)
		}
	}
}

// closing is a body that can be read once, and not after it was closed.
type closing struct {
	text   io.Reader
	once   sync.Once
	closed chan struct{}
}

func newClosing(text string) *closing {
	return &closing{text: strings.NewReader(text), closed: make(chan struct{})}
}

func (c *closing) Read(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, errors.New("the body is closed")
	default:
		return c.text.Read(p)
	}
}

func (c *closing) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
