package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/memory"
	"github.com/weirmesh/weir/internal/pause"
	"github.com/weirmesh/weir/registry"
	registrymemory "github.com/weirmesh/weir/registry/memory"
)

// fixture is a gateway with a store, a registry, and a real server before it.
type fixture struct {
	*testing.T
	store    *memory.Store
	registry *registrymemory.Registry
	proxy    *Proxy
	server   *httptest.Server
	client   *http.Client
	log      *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start runs a gateway until the test ends. mend may change its config.
func start(t *testing.T, mend func(*Config)) *fixture {
	t.Helper()
	f := &fixture{T: t, store: memory.New(memory.Options{}), registry: registrymemory.New(), log: &syncBuffer{}}
	hub := f.registry.Join(registrymemory.Config{})
	t.Cleanup(func() { hub.Close() })
	config := Config{
		Node: "node-1", Source: f.store, Registry: hub, Coalesce: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(f.log, nil)), DrainTimeout: time.Millisecond,
	}
	if mend != nil {
		mend(&config)
	}
	var err error
	if f.proxy, err = New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := f.proxy.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	f.server = httptest.NewServer(f.proxy)
	f.client = f.server.Client()
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		f.proxy.Drain()
		cancel()
		ran.Wait()
		f.client.CloseIdleConnections()
		f.server.Close()
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.proxy.Shutdown(stopping); err != nil {
			t.Error("shutdown:", err)
		}
	})
	return f
}

// routes writes routes, given as JSON without namespace, and waits until they are
// served.
func (f *fixture) routes(documents ...string) gateway.Revision {
	f.Helper()
	var writes []gateway.Write
	for _, d := range documents {
		var r gateway.Route
		if err := json.Unmarshal([]byte(d), &r); err != nil {
			f.Fatalf("%s: %v", d, err)
		}
		r.Namespace = "shop"
		writes = append(writes, gateway.Write{Route: r, Expect: gateway.AnyRevision})
	}
	return f.write(writes...)
}

func (f *fixture) write(writes ...gateway.Write) gateway.Revision {
	f.Helper()
	rev, err := f.store.Apply(f.Context(), writes, gateway.Change{Actor: "test", Reason: "test"})
	if err != nil {
		f.Fatal(err)
	}
	f.applied(rev)
	return rev
}

func (f *fixture) applied(rev gateway.Revision) gateway.Node {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		nodes, err := f.store.WaitApplied(ctx, rev)
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range nodes {
			if n.Name == "node-1" && n.Revision >= rev {
				return n
			}
		}
		poll(ctx)
	}
	f.Fatalf("revision %d is not served", rev)
	return gateway.Node{}
}

// poll lets others run before something is looked at again.
func poll(ctx context.Context) { pause.For(ctx, time.Millisecond) }

// until waits for a condition.
func (f *fixture) until(what string, ok func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		if ctx.Err() != nil {
			f.Fatalf("%s: never happened", what)
		}
		poll(ctx)
	}
}

// upstream starts a server and returns its URL.
func (f *fixture) upstream(h http.HandlerFunc) *httptest.Server {
	f.Helper()
	s := httptest.NewServer(h)
	f.Cleanup(s.Close)
	return s
}

// instance makes a server an instance of an application.
func (f *fixture) instance(app, id, address string) {
	f.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		f.Fatal(err)
	}
	number, _ := strconv.Atoi(port)
	name := registry.App{Namespace: "shop", Name: app}
	f.registry.PutService(name, registry.Service{Ports: []registry.ServicePort{{Name: "http", Port: 80, Target: uint16(number)}}})
	f.registry.PutInstance(name, registry.Instance{ID: id, Name: id, Host: netip.MustParseAddr(host)})
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) problem() problemDocument {
	var d problemDocument
	_ = json.Unmarshal([]byte(r.body), &d) // an empty one is what the test then complains of
	return d
}

// do sends a request. Headers are given as name, value, ….
func (f *fixture) do(method, path string, body io.Reader, header ...string) reply {
	f.Helper()
	r, err := http.NewRequestWithContext(f.Context(), method, f.server.URL+path, body)
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else {
			r.Header.Add(header[i], header[i+1])
		}
	}
	answer, err := f.client.Do(r)
	if err != nil {
		f.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		f.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{answer.StatusCode, answer.Header, string(data)}
}

func (f *fixture) get(path string, header ...string) reply {
	f.Helper()
	return f.do("GET", path, nil, header...)
}

// raw sends bytes and returns what comes back until the connection is closed.
func (f *fixture) raw(request string) string {
	f.Helper()
	u, _ := url.Parse(f.server.URL)
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		f.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		f.Logf("after %q: %v", answer, err)
	}
	return string(answer)
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	data, err := json.Marshal(echoed{r.Method, r.RequestURI, r.Host, r.Header, string(body), r.TransferEncoding, r.Trailer})
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Write(data)
}

type echoed struct {
	Method, URI, Host string
	Header            http.Header
	Body              string
	TransferEncoding  []string
	Trailer           http.Header
}

func (r reply) echoed(t testing.TB) echoed {
	t.Helper()
	var e echoed
	if err := json.Unmarshal([]byte(r.body), &e); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d %s is no echo: %v", r.status, r.body, err)
	}
	return e
}

func toURL(name, match, url string, filters ...string) string {
	return fmt.Sprintf(`{"name":%q,"match":%s,"filters":[%s],"upstream":{"url":%q}}`, name, match, strings.Join(filters, ","), url)
}

func toApp(name, match, app string, filters ...string) string {
	return fmt.Sprintf(`{"name":%q,"match":%s,"filters":[%s],"upstream":{"app":%q}}`, name, match, strings.Join(filters, ","), app)
}

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// quiet is for servers whose clients misbehave on purpose.
var quiet = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
