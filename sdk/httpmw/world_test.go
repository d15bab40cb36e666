package httpmw_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/memory"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
	"github.com/weirmesh/weir/sdk/sdktest"
)

var cart = registry.App{Namespace: "shop", Name: "cart"}

// world is an application of real servers, each at an address of its own and all at
// one port, as pods are, and a registry that knows them.
type world struct {
	t       *testing.T
	reg     *memory.Registry
	member  *memory.Client
	kit     *sdk.Kit
	port    uint16
	servers []*server
	// service is where the Service's name leads: to any of these, for each connection.
	service atomic.Pointer[[]string]
	turn    atomic.Uint64
}

type server struct {
	*httptest.Server
	id    string
	host  netip.Addr
	hits  atomic.Int64
	conns atomic.Int64
	open  atomic.Int64 // of these
}

// newWorld starts count servers, which answer with the Host header unless handler is
// given.
func newWorld(t *testing.T, count int, secured bool, handler http.HandlerFunc) *world {
	t.Helper()
	mesh := sdktest.Start(t)
	cfg := mesh.Config(t, "shop/storefront")
	cfg.Settings.Breaker = &governance.Breaker{Mode: governance.ModeDisabled} // what fails here is tried at once
	w := &world{t: t, reg: memory.New(), kit: mesh.KitWith(t, cfg)}
	w.service.Store(&[]string{})
	if handler == nil {
		handler = func(rw http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Errorf("a server could not read a body: %v", err)
			}
			_, _ = io.WriteString(rw, r.Host)
		}
	}
	for n := range count {
		w.add(n, secured, handler)
	}
	w.reg.PutService(cart, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: w.port}}})
	w.member = w.reg.Join(memory.Config{})
	t.Cleanup(w.member.Close)
	return w
}

func (w *world) add(n int, secured bool, handler http.HandlerFunc) {
	w.t.Helper()
	s := &server{id: fmt.Sprint("i", n), host: netip.AddrFrom4([4]byte{127, 0, 0, byte(n + 1)})}
	l, err := net.Listen("tcp", netip.AddrPortFrom(s.host, w.port).String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.port = netip.MustParseAddrPort(l.Addr().String()).Port()
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		rw.Header().Set("X-Instance", s.id)
		handler(rw, r)
	}))
	_ = s.Listener.Close()
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
			s.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			s.open.Add(-1)
		}
	}
	if secured {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	w.t.Cleanup(s.Close)
	w.servers = append(w.servers, s)
	w.put(s, nil)
	all := append([]string{}, *w.service.Load()...)
	all = append(all, l.Addr().String())
	w.service.Store(&all)
}

// put lists a server, changed.
func (w *world) put(s *server, change func(*registry.Instance)) {
	i := registry.Instance{ID: s.id, Name: "cart-" + s.id, Host: s.host}
	if change != nil {
		change(&i)
	}
	w.reg.PutInstance(cart, i)
}

// dead lists an instance whose address takes no connection.
func (w *world) dead(n int) {
	w.reg.PutInstance(cart, registry.Instance{ID: fmt.Sprint("dead", n), Name: "cart-dead", Host: netip.AddrFrom4([4]byte{127, 0, 1, byte(n + 1)})})
}

// transport is the user's own: its dialer stands for the cluster's name service and
// proxy, which choose a pod for each connection.
func (w *world) transport() *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); host == "cart.shop.svc" {
			all := *w.service.Load()
			if len(all) == 0 {
				return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("no endpoint of %s", host)}
			}
			address = all[w.turn.Add(1)%uint64(len(all))]
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
}

func (w *world) client(over *http.Transport, opts ...httpmw.DiscoverOption) *http.Client {
	c := &http.Client{Transport: httpmw.Client(w.kit, httpmw.Over(over), httpmw.Discover(w.member, opts...))}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// until repeats a call until what it is answered is as wanted.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// load makes calls until stop, and fails the test for each that fails. It returns how
// many there were so far.
func (w *world) load(c *http.Client) (calls *atomic.Int64, stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	calls = new(atomic.Int64)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil && !w.t.Failed() {
				// A body that can be read once only, as one that comes from elsewhere.
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "http://cart.shop/x", newClosing("body"))
				if err != nil {
					w.t.Error(err)
					return
				}
				resp, err := c.Do(req)
				if err != nil {
					w.t.Errorf("call %d failed: %v", calls.Load(), err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					w.t.Errorf("call %d: %s, %v", calls.Load(), resp.Status, err)
				}
				_ = resp.Body.Close()
				calls.Add(1)
			}
		})
	}
	return calls, func() { cancel(); all.Wait() }
}

// more waits for so many calls more.
func (w *world) more(calls *atomic.Int64, n int64) {
	w.t.Helper()
	from := calls.Load()
	w.until(fmt.Sprintf("%d calls more", n), func() bool { return calls.Load() >= from+n || w.t.Failed() })
}

// open is how many connections there are.
func (w *world) open() (n int64) {
	for _, s := range w.servers {
		n += s.open.Load()
	}
	return n
}

func (w *world) hits() (all []int64) {
	for _, s := range w.servers {
		all = append(all, s.hits.Load())
	}
	return all
}
