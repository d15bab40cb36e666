package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/sdk/breaker"
)

func handlersApp(name string) registry.App { return registry.App{Namespace: "shop", Name: name} }

// brokenSource is a source that a test takes away and tampers with.
type brokenSource struct {
	mu      sync.Mutex
	err     error
	routes  map[gateway.Key]gateway.Version
	rev     gateway.Revision
	wrong   string // checksum to tell instead
	hide    bool   // deltas hold nothing, but their revision moves
	reads   []gateway.Revision
	nodes   []gateway.Node
	watches int
	wake    chan struct{}
}

func (s *brokenSource) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
}

func (s *brokenSource) put(v gateway.Version) {
	s.set(func() {
		s.rev++
		v.Revision = s.rev
		if s.routes == nil {
			s.routes = map[gateway.Key]gateway.Version{}
		}
		s.routes[v.Route.Key()] = v
	})
}

func (s *brokenSource) Since(_ context.Context, rev gateway.Revision) (gateway.Delta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, rev)
	if s.err != nil {
		return gateway.Delta{}, s.err
	}
	d := gateway.Delta{Revision: s.rev, Full: rev > s.rev}
	var sum gateway.Sum
	for _, v := range s.routes {
		if !v.Deleted {
			sum.Toggle(v)
		}
		hidden := s.hide && rev > 0 || v.Deleted && (d.Full || rev == 0)
		if (v.Revision > rev || d.Full) && !hidden {
			d.Routes = append(d.Routes, v)
		}
	}
	if d.Checksum = sum.String(); s.wrong != "" {
		d.Checksum = s.wrong
	}
	return d, nil
}

func (s *brokenSource) Watch(ctx context.Context, changed func()) error {
	for {
		s.mu.Lock()
		err := s.err
		s.watches++
		if s.wake == nil {
			s.wake = make(chan struct{})
		}
		wake := s.wake
		s.mu.Unlock()
		if err != nil {
			return err
		}
		changed()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *brokenSource) SetNode(_ context.Context, n gateway.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.nodes = append(s.nodes, n)
	return nil
}

func (s *brokenSource) last() gateway.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.nodes) == 0 {
		return gateway.Node{}
	}
	return s.nodes[len(s.nodes)-1]
}

// follow runs a gateway on a source, in a bubble of its own time.
func follow(t *testing.T, s *brokenSource, test func(t *testing.T, p *Proxy)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{Node: "n", Version: "1.2", Source: s, Sweep: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		test(t, p)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func (p *Proxy) serves(t *testing.T, target string) string {
	t.Helper()
	tab := p.table.Load()
	if tab == nil {
		return "not ready"
	}
	if r := tab.find(requestFor(t, "GET", target)); r != nil {
		return fmt.Sprintf("%s@%d", r.key.Name, r.revision)
	}
	return "none"
}

// settle lets a gateway do all it has to do in d.
func settle(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
	synctest.Wait()
}

func TestSourceAwayAtStartAndLater(t *testing.T) {
	s := &brokenSource{err: errors.New("the database is away")}
	s.routes = map[gateway.Key]gateway.Version{}
	follow(t, s, func(t *testing.T, p *Proxy) {
		if err := p.Ready(); err == nil || !strings.Contains(err.Error(), "away") {
			t.Errorf("ready: %v", err)
		}
		s.set(func() { s.err = nil })
		s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
		settle(maxBackoff)
		if err := p.Ready(); err != nil || p.serves(t, "/a") != "a@1" {
			t.Fatalf("after it came: %v, %s", err, p.serves(t, "/a"))
		}
		s.set(func() { s.err = errors.New("gone again") })
		settle(10 * time.Minute)
		if err := p.Ready(); err != nil || p.serves(t, "/a") != "a@1" {
			t.Errorf("while it is away: %v, %s", err, p.serves(t, "/a"))
		}
		if p.follower.unread() < time.Second {
			t.Error("nobody can see that the source is away")
		}
		s.set(func() { s.err = nil })
		s.put(version(t, "a", 0, gateway.Match{Path: "/b"}))
		settle(3 * maxBackoff)
		if p.serves(t, "/a") != "none" || p.serves(t, "/b") != "a@2" {
			t.Errorf("after it came back: /a %s, /b %s", p.serves(t, "/a"), p.serves(t, "/b"))
		}
	})
}

func TestQuarantine(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	s.put(version(t, "b", 0, gateway.Match{Path: "/b"}))
	s.put(version(t, "never", 0, gateway.Match{Path: "no slash"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		if q := s.last().Quarantined; len(q) != 1 || q[0].Key.Name != "never" || q[0].Serving != 0 || q[0].Revision != 3 || q[0].Reason == "" {
			t.Errorf("quarantined: %+v", q)
		}
		s.put(version(t, "a", 0, gateway.Match{Path: "/a", Header: []gateway.HeaderMatch{{Name: "X", Regex: "("}}}))
		app := version(t, "b", 0, gateway.Match{Path: "/b"})
		app.Route.Upstream = gateway.Upstream{App: "shop/cart"} // there is no registry here
		s.put(app)
		settle(time.Second)
		if p.serves(t, "/a") != "a@1" || p.serves(t, "/b") != "b@2" {
			t.Errorf("the last good forms are not served: %s %s", p.serves(t, "/a"), p.serves(t, "/b"))
		}
		n := s.last()
		if len(n.Quarantined) != 3 || n.Quarantined[0].Serving != 1 || n.Quarantined[1].Serving != 2 || n.Revision != 5 || n.Name != "n" || n.Version != "1.2" {
			t.Errorf("node: %+v", n)
		}
		if d, _ := s.Since(t.Context(), 5); d.Checksum != n.Checksum {
			t.Errorf("checksum %s, want %s", n.Checksum, d.Checksum)
		}
		s.put(version(t, "a", 0, gateway.Match{Path: "/a2"}))
		never := version(t, "never", 0, gateway.Match{})
		s.set(func() {
			s.rev++
			s.routes[never.Route.Key()] = gateway.Version{Route: never.Route, Revision: s.rev, Deleted: true}
		})
		settle(time.Second)
		if q := s.last().Quarantined; p.serves(t, "/a2") != "a@6" || p.serves(t, "/a") != "none" || len(q) != 1 || q[0].Key.Name != "b" {
			t.Errorf("after a was mended: %s, %+v", p.serves(t, "/a2"), q)
		}
	})
}

func TestDisabledRouteIsNotServed(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		v := version(t, "a", 0, gateway.Match{Path: "/a"})
		v.Route.Disabled = true
		s.put(v)
		settle(time.Second)
		if p.serves(t, "/a") != "none" || len(s.last().Quarantined) != 0 {
			t.Errorf("%s, %+v", p.serves(t, "/a"), s.last())
		}
		v.Route.Disabled = false
		s.put(v)
		settle(time.Second)
		if p.serves(t, "/a") != "a@3" {
			t.Error(p.serves(t, "/a"))
		}
	})
}

func TestWhatWasMissedIsFound(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		s.set(func() { s.hide = true })
		s.put(version(t, "b", 0, gateway.Match{Path: "/b"})) // whose delta is empty
		settle(time.Second)
		if p.serves(t, "/b") != "b@2" || p.serves(t, "/a") != "a@1" {
			t.Errorf("a delta that lied: %s", p.serves(t, "/b"))
		}
		s.set(func() { s.wrong, s.hide = "set256:00", false })
		s.put(version(t, "c", 0, gateway.Match{Path: "/c"}))
		settle(time.Minute)
		if p.serves(t, "/c") != "c@3" || p.serves(t, "/a") != "a@1" {
			t.Error("a source whose checksum is wrong is not served")
		}
	})
}

func TestAnOlderDatabase(t *testing.T) {
	s := &brokenSource{}
	for _, n := range []string{"a", "b", "c"} {
		s.put(version(t, n, 0, gateway.Match{Path: "/" + n}))
	}
	follow(t, s, func(t *testing.T, p *Proxy) {
		s.set(func() { // restored from a backup
			delete(s.routes, gateway.Key{Namespace: "shop", Name: "b"})
			delete(s.routes, gateway.Key{Namespace: "shop", Name: "c"})
			s.rev = 1
		})
		settle(time.Second)
		if p.serves(t, "/a") != "a@1" || p.serves(t, "/b") != "none" || p.serves(t, "/c") != "none" || s.last().Revision != 1 {
			t.Errorf("%s %s %s, %+v", p.serves(t, "/a"), p.serves(t, "/b"), p.serves(t, "/c"), s.last())
		}
	})
}

func TestATableThatIsNotWholeTakesNothingAway(t *testing.T) {
	s := &brokenSource{}
	for _, n := range []string{"a", "b"} {
		s.put(version(t, n, 0, gateway.Match{Path: "/" + n}))
	}
	follow(t, s, func(t *testing.T, p *Proxy) {
		lost := s.routes[gateway.Key{Namespace: "shop", Name: "b"}]
		s.set(func() { // the database lost a row, not what it says of all of them
			s.wrong = p.follower.sum.String()
			delete(s.routes, gateway.Key{Namespace: "shop", Name: "b"})
		})
		s.put(version(t, "c", 0, gateway.Match{Path: "/c"}))
		settle(time.Minute)
		if p.serves(t, "/a") != "a@1" || p.serves(t, "/b") != "b@2" || p.serves(t, "/c") != "c@3" {
			t.Errorf("%s %s %s", p.serves(t, "/a"), p.serves(t, "/b"), p.serves(t, "/c"))
		}
		if p.Ready() != nil {
			t.Error(p.Ready())
		}
		s.set(func() { s.wrong = "" }) // it is the truth: b is gone
		settle(time.Minute)
		if p.serves(t, "/b") != "none" || s.last().Revision != 3 {
			t.Errorf("%s, %+v", p.serves(t, "/b"), s.last())
		}
		s.put(lost)
		settle(time.Minute)
		if p.serves(t, "/b") != "b@4" {
			t.Error(p.serves(t, "/b"))
		}
	})
}

func TestADatabaseMadeAnewTakesNothingAway(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	s.put(version(t, "b", 0, gateway.Match{Path: "/b"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		s.set(func() { s.routes, s.rev = nil, 0 })
		settle(time.Minute)
		if p.serves(t, "/a") != "a@1" || p.serves(t, "/b") != "b@2" || p.Ready() != nil {
			t.Errorf("%s %s %v", p.serves(t, "/a"), p.serves(t, "/b"), p.Ready())
		}
		if s.last().Revision != 0 { // else whoever writes revision 1 is told that it is served
			t.Errorf("%+v", s.last())
		}
		s.put(version(t, "c", 0, gateway.Match{Path: "/c"})) // now it is somebody's word
		settle(time.Minute)
		if p.serves(t, "/a") != "none" || p.serves(t, "/c") != "c@1" || s.last().Revision != 1 {
			t.Errorf("%s %s %+v", p.serves(t, "/a"), p.serves(t, "/c"), s.last())
		}
	})
}

func TestManyChangesBecomeFewReads(t *testing.T) {
	s := &brokenSource{}
	s.put(version(t, "a", 0, gateway.Match{Path: "/a"}))
	follow(t, s, func(t *testing.T, p *Proxy) {
		settle(time.Second)
		s.set(func() { s.reads = nil })
		s.put(version(t, "b", 0, gateway.Match{Path: "/b"}))
		synctest.Wait() // no time passes: the first change is applied at once
		if p.serves(t, "/b") != "b@2" {
			t.Error("the first change waits")
		}
		for range 100 {
			s.put(version(t, "b", 0, gateway.Match{Path: "/b"}))
			settle(DefaultCoalesce / 100)
		}
		settle(time.Second)
		if n := len(s.reads); n > 4 || p.serves(t, "/b") != "b@102" {
			t.Errorf("%d reads for 100 changes, %s", n, p.serves(t, "/b"))
		}
	})
}

func TestHeartbeat(t *testing.T) {
	s := &brokenSource{}
	follow(t, s, func(t *testing.T, p *Proxy) {
		settle(gateway.NodeGone)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.nodes) < 3 {
			t.Errorf("%d words in the time after which a node counts as gone", len(s.nodes))
		}
		if p.Ready() != nil {
			t.Error("a gateway without routes is ready: there are none")
		}
	})
}

// closing is a Dubbo handler that knows whether it is closed.
type closing struct {
	closed chan struct{}
	in     chan struct{}
	out    chan struct{}
}

func (c *closing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-c.closed:
		w.WriteHeader(http.StatusInternalServerError)
		return
	default:
	}
	if c.in != nil {
		c.in <- struct{}{}
		<-c.out
	}
	select {
	case <-c.closed:
		w.WriteHeader(http.StatusInternalServerError)
	default:
		w.Header().Set("X-Up", "1")
		fmt.Fprintf(w, "%v %s", gateway.VarsOf(r.Context()), r.Header.Get("X-Set"))
	}
}

func (c *closing) Close() error { close(c.closed); return nil }

type compiler func(gateway.Route) (http.Handler, error)

func (c compiler) Compile(r gateway.Route) (http.Handler, error) { return c(r) }

const toDubbo = `{"name":"d","match":{"path":"/d/{sku}/{rest...}"},"filters":[{"requestHeaders":{"set":{"X-Set":"1"}}},{"responseHeaders":{"remove":["X-Up"]}}%s],
	"upstream":{"dubbo":{"app":"shop/inventory","interface":"org.example.I","method":"get","args":[{"type":"int","from":"path.sku"}]}}}`

func TestDubboRoute(t *testing.T) {
	made := make(chan *closing, 10)
	first := true
	f := start(t, func(c *Config) {
		c.Dubbo = compiler(func(gateway.Route) (http.Handler, error) {
			h := &closing{closed: make(chan struct{})}
			if first {
				h.in, h.out = make(chan struct{}), make(chan struct{})
				first = false
			}
			made <- h
			return h, nil
		})
	})
	f.routes(fmt.Sprintf(toDubbo, ""))
	old := <-made
	var asked sync.WaitGroup
	asked.Go(func() {
		r := f.get("/d/a%2Fb/x/y")
		if r.status != 200 || r.body != "[{sku a/b} {rest x/y}] 1" || r.header.Get("X-Up") != "" {
			t.Errorf("got %+v", r)
		}
	})
	<-old.in
	f.routes(fmt.Sprintf(toDubbo, `,{"bodyLimit":10}`))
	select {
	case <-old.closed:
		t.Error("the old handler was closed under its request")
	default:
	}
	if r := f.get("/d/1/2"); r.status != 200 {
		t.Errorf("got %+v", r)
	}
	close(old.out)
	asked.Wait()
	<-old.closed
	fresh := <-made
	f.write(gateway.Write{Route: gateway.Route{Namespace: "shop", Name: "d"}, Delete: true, Expect: gateway.AnyRevision})
	<-fresh.closed
}

func TestDubboFallback(t *testing.T) {
	status := 503
	f := start(t, func(c *Config) {
		c.Dubbo = compiler(func(gateway.Route) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				fmt.Fprint(w, "own words")
			}), nil
		})
	})
	f.routes(fmt.Sprintf(toDubbo, `,{"fallback":{"status":200,"body":{"left":0}}}`))
	if r := f.get("/d/1"); r.status != 200 || r.body != `{"left":0}` {
		t.Errorf("got %+v", r)
	}
	status = 422
	if r := f.get("/d/1"); r.status != 422 || r.body != "own words" {
		t.Errorf("got %+v", r)
	}
}

func TestDubboProblem(t *testing.T) {
	status, code := 503, "no-provider"
	set := breaker.NewSet(breaker.Config{})
	defer set.Close()
	f := start(t, func(c *Config) {
		c.Breakers = set
		c.Dubbo = compiler(func(gateway.Route) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set(ErrorHeader, code)
				w.WriteHeader(status)
			}), nil
		})
	})
	f.routes(fmt.Sprintf(toDubbo, `,{"fallback":{"status":200,"body":{"left":0}}},{"breaker":{"minCalls":2,"errorPercent":50,"openFor":"1m"}}`))
	code = codeSwitchedOff
	for range 5 { // is no failure, so the route's circuit does not outlast the switch
		if r := f.get("/d/1"); r.status != 200 || r.header.Get(ErrorHeader) != codeSwitchedOff {
			t.Errorf("got %+v", r)
		}
	}
	if st := set.Status(); len(st) != 1 || st[0].Window.Failure != 0 {
		t.Errorf("%+v", st)
	}
	code = "no-provider"
	if r := f.get("/d/1"); r.status != 200 || r.header.Get(ErrorHeader) != code {
		t.Errorf("got %+v", r)
	}
	f.until("circuit open", func() bool { return f.get("/d/1").header.Get(ErrorHeader) == codeCircuitOpen })
}

func TestRequestsAfterTheEnd(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Dubbo = compiler(func(gateway.Route) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}), nil
		})
	})
	f.routes(fmt.Sprintf(toDubbo, ""))
	if err := f.proxy.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := f.get("/d/1"); r.status != 503 || r.header.Get(ErrorHeader) != codeNotReady {
		t.Errorf("got %+v", r)
	}
}
