package httpmw_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
	"github.com/weirmesh/weir/sdk/sdktest"
)

// counted is a registry that counts who follows what.
type counted struct {
	registry.Discoverer
	mu       sync.Mutex
	followed map[registry.App]int
	spaces   map[string]bool
}

func (c *counted) Subscribe(app registry.App, notify func(registry.Snapshot)) (func(), error) {
	stop, err := c.Discoverer.Subscribe(app, notify)
	if err != nil {
		return nil, err
	}
	c.add(app, 1)
	return func() { stop(); c.add(app, -1) }, nil
}

func (c *counted) add(app registry.App, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spaces[app.Namespace] = true
	if c.followed[app] += n; c.followed[app] == 0 {
		delete(c.followed, app)
	}
}

// forget has namespaces be counted anew.
func (c *counted) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.spaces)
}

func (c *counted) spaceCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spaces)
}

func (c *counted) now() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.followed)
}

// flooded is a client whose calls all end at one server, wherever they go, and
// whose time is that of a synctest bubble.
type flooded struct {
	t      *testing.T
	reg    *memory.Registry
	seen   *counted
	client *http.Client
	dialed string // where the last connection led
}

func newFlooded(t *testing.T, opts ...httpmw.DiscoverOption) *flooded {
	kit, err := sdk.Start(t.Context(), sdk.Config{App: "shop/storefront", StateDir: sdk.Off, SampleRate: -1, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kit.Close(context.Background()) })
	server := memhttp.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }))
	f := &flooded{t: t, reg: memory.New()}
	f.reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
	f.reg.PutInstance(cart, registry.Instance{ID: "i", Host: netip.MustParseAddr("10.0.0.1")})
	member := f.reg.Join(memory.Config{})
	t.Cleanup(member.Close)
	f.seen = &counted{Discoverer: member, followed: map[registry.App]int{}, spaces: map[string]bool{}}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		f.dialed = address
		return server.Dial(ctx, network, address)
	}}
	f.client = &http.Client{Transport: httpmw.Client(kit, httpmw.Over(tr), httpmw.Discover(f.seen, opts...))}
	return f
}

// leads tells where a call of a host ends.
func (f *flooded) leads(host string) string {
	mustGet(f.t, f.client, "http://"+host+"/x")
	synctest.Wait()
	return f.dialed
}

// Hosts that somebody makes up, as those of webhooks may be, take no room from
// applications that there are, nor keep any.
func TestMadeUpHostsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlooded(t)
		for i := range 1500 {
			if at := f.leads(fmt.Sprintf("hook%d.shop", i)); at != fmt.Sprintf("hook%d.shop:80", i) {
				t.Fatalf("a host that is no application led to %s", at)
			}
		}
		if at := f.leads("cart.shop"); at != "10.0.0.1:8080" {
			t.Errorf("after them an application is called at %s", at)
		}
		if n := f.seen.now(); n > 501 {
			t.Errorf("%d applications are followed", n)
		}
		// One that comes into being is found, however long its name was a stranger's.
		for _, name := range []string{"hook1499", "hook0"} {
			app := registry.App{Namespace: "shop", Name: name}
			f.reg.PutService(app, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
			f.reg.PutInstance(app, registry.Instance{ID: name, Host: netip.MustParseAddr("10.0.0.2")})
			synctest.Wait()
			if at := f.leads(name + ".shop"); at != "10.0.0.2:8080" {
				t.Errorf("%s is called at %s", name, at)
			}
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := f.seen.now(); n != 3 {
			t.Errorf("an hour later %d applications are followed, want the 3 there are", n)
		}
		// What was deleted is a stranger again.
		f.reg.RemoveApp(registry.App{Namespace: "shop", Name: "hook0"})
		<-time.After(time.Hour)
		synctest.Wait()
		if n := f.seen.now(); n != 2 {
			t.Errorf("an hour after one was deleted %d applications are followed, want 2", n)
		}
	})
}

// A registry may have to watch each namespace apart.
func TestMadeUpNamespacesAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlooded(t, httpmw.Namespaces("store"))
		stock := registry.App{Namespace: "store", Name: "stock"}
		f.reg.PutService(stock, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
		f.reg.PutInstance(stock, registry.Instance{ID: "s", Host: netip.MustParseAddr("10.0.0.3")})
		for i := range 300 {
			f.leads(fmt.Sprintf("hook.example%d.svc", i))
		}
		if n := len(f.seen.spaces); n > 100 {
			t.Errorf("%d namespaces were asked for", n)
		}
		for host, want := range map[string]string{"cart.shop": "10.0.0.1:8080", "stock.store": "10.0.0.3:8080"} {
			if at := f.leads(host); at != want {
				t.Errorf("after them %s is called at %s", host, at)
			}
		}
	})
}

// However many namespaces were made up before, one that exists is asked for, and what
// was made up is let go of.
func TestMadeUpNamespacesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlooded(t)
		stock := registry.App{Namespace: "store", Name: "stock"}
		f.reg.PutService(stock, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
		f.reg.PutInstance(stock, registry.Instance{ID: "s", Host: netip.MustParseAddr("10.0.0.3")})
		for i := range 1000 {
			f.leads(fmt.Sprintf("hook.example%d.svc", i))
			<-time.After(time.Second)
			if n := f.seen.now(); n > 60 {
				t.Fatalf("%d applications are followed", n)
			}
		}
		if at := f.leads("stock.store"); at != "10.0.0.3:8080" {
			t.Errorf("after them an application is called at %s", at)
		}
		// It keeps its place, whatever else is made up.
		for i := range 100 {
			f.leads(fmt.Sprintf("hook.example%d.svc", i))
			<-time.After(time.Second)
		}
		f.reg.RemoveInstance(stock, "s")
		f.reg.PutInstance(stock, registry.Instance{ID: "s2", Host: netip.MustParseAddr("10.0.0.4")})
		synctest.Wait()
		if at := f.leads("stock.store"); at != "10.0.0.4:8080" {
			t.Errorf("later it is called at %s", at)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if n := f.seen.now(); n != 1 {
			t.Errorf("an hour later %d applications are followed, want the one that there is", n)
		}
		// Nor do their places stay taken: as many as at first are asked for at once.
		f.seen.forget()
		for i := range 300 {
			f.leads(fmt.Sprintf("hook.again%d.svc", i))
		}
		if n := f.seen.spaceCount(); n != 50 {
			t.Errorf("%d namespaces were asked for at once, want 50", n)
		}
	})
}

// There is room for a few hundred applications in what the control plane is told.
func TestMadeUpHostsAreNotDeclared(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/storefront")
	reg := memory.New()
	reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: 8080}}})
	reg.PutInstance(cart, registry.Instance{ID: "i", Host: netip.MustParseAddr("127.0.0.1")})
	member := reg.Join(memory.Config{})
	t.Cleanup(member.Close)
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("nobody is called here")}
	}}
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(tr), httpmw.Discover(member))}
	for i := range 600 {
		_, _ = get(t, client, fmt.Sprintf("http://hook%d.shop/x", i))
	}
	_, _ = get(t, client, "http://cart.shop/x")
	mesh.Wait(t, "the application is declared, and no host that is none", func() bool {
		all := mesh.Instances()
		return len(all) == 1 && len(all[0].Calls) == 1 && all[0].Calls[0] == governance.App{Namespace: "shop", Name: "cart"}
	})
}

// Without a registry it is DNS that knows whether a host can be an application.
func TestHostsThatDNSDoesNotKnowAreNotDeclared(t *testing.T) {
	mesh := sdktest.Start(t)
	kit := mesh.Kit(t, "shop/storefront")
	tr := &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); strings.HasPrefix(host, "hook") {
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}}
		}
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("nobody answers")}
	}}
	client := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(tr))}
	for i := range 600 {
		_, _ = get(t, client, fmt.Sprintf("http://hook%d.shop/x", i))
	}
	_, _ = get(t, client, "http://cart.shop/x")
	mesh.Wait(t, "the application is declared though it is down, and no host that is none", func() bool {
		all := mesh.Instances()
		return len(all) == 1 && len(all[0].Calls) == 1 && all[0].Calls[0] == governance.App{Namespace: "shop", Name: "cart"}
	})
}

// So are the ports of a URL somebody's word.
func TestMadeUpPortsMakeRoom(t *testing.T) {
	for _, mode := range []registry.Mode{registry.ModePod, registry.ModeService} {
		t.Run(string(mode), func(t *testing.T) {
			w := newWorld(t, 1, false, nil)
			c := w.client(w.transport(), httpmw.CallMode(mode))
			mustGet(t, c, "http://cart.shop/x")
			for port := range 100 {
				_, _ = get(t, c, fmt.Sprintf("http://cart.shop:%d/x", port+1))
			}
			mustGet(t, c, "http://cart.shop/x")
			mustGet(t, c, fmt.Sprintf("http://cart.shop:%d/x", w.port))
		})
	}
}

// Connections for names of one application that nobody uses any more are closed, and
// what runs over them is not.
func TestNamesOfOneApplicationMakeRoom(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{})
	w := newWorld(t, 1, true, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			rw.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(rw).Flush()
			close(held)
			<-hold
		}
		_, _ = io.WriteString(rw, "done")
	})
	tr := w.transport()
	tr.ForceAttemptHTTP2 = true
	tr.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	c := w.client(tr)
	var long sync.WaitGroup
	long.Go(func() {
		if a, err := get(t, c, "https://cart.shop/hold"); err != nil || a.body != "done" {
			t.Errorf("the call under way: %+v, %v", a, err)
		}
	})
	<-held
	for n := range 100 {
		mustGet(t, c, fmt.Sprintf("https://cart.shop.svc.n%d/x", n))
	}
	close(hold)
	long.Wait()
	w.until("no more than eight connections are open", func() bool { return w.open() <= 8 })
}

// A Service that is called at another port leaves no connection to the one that it
// had, though calls were under way.
func TestServiceConnectionsAreClosed(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			hold := make(chan struct{})
			var holding atomic.Int64
			w := newWorld(t, 2, false, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hold" {
					rw.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(rw).Flush()
					holding.Add(1)
					<-hold
				}
				_, _ = io.WriteString(rw, "done")
			})
			tr := w.transport()
			if protocol == "HTTP/2" {
				tr.Protocols = new(http.Protocols)
				tr.Protocols.SetUnencryptedHTTP2(true)
			}
			w.reg.SetMode(cart, registry.ModeService)
			c := w.client(tr)
			var long sync.WaitGroup
			for range 16 {
				long.Go(func() {
					if a, err := get(t, c, "http://cart.shop/hold"); err != nil || a.body != "done" {
						t.Errorf("the call under way: %+v, %v", a, err)
					}
				})
			}
			w.until("all are under way", func() bool { return holding.Load() == 16 })
			// Either leaves the connections there are.
			w.reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 8000, Target: w.port}}})
			before := w.turn.Load()
			w.until("the Service is called at its new port", func() bool {
				mustGet(t, c, "http://cart.shop/x")
				return w.turn.Load() > before
			})
			w.reg.SetMode(cart, registry.ModePod)
			w.until("instances are called", func() bool {
				before := w.turn.Load()
				c.CloseIdleConnections()
				for range 8 {
					mustGet(t, c, "http://cart.shop/x")
				}
				return w.turn.Load() == before
			})
			close(hold)
			long.Wait()
			w.until("one connection to each instance is left", func() bool { return w.open() <= 2 })
		})
	}
}
