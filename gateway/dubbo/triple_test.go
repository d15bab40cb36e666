package dubbo

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/registry"
)

// startTriple starts a server of HTTP/2 without TLS.
func startTriple(t testing.TB, f http.HandlerFunc) int {
	t.Helper()
	srv := httptest.NewUnstartedServer(f)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *shop) putTriple(id string, port int) {
	s.reg.PutInstance(s.app, registry.Instance{
		ID: id, Name: id, Host: netip.MustParseAddr("127.0.0.1"), Health: registry.Ready,
		Metadata:  map[string]string{registry.KeyEndpoints: fmt.Sprintf(`[{"port":%d,"protocol":"tri"}]`, port)},
		Endpoints: []registry.Endpoint{{Protocol: "tri", Port: uint16(port)}},
	})
	waitFor(s.t, func() bool {
		snap, err := s.d.cfg.Discoverer.Snapshot(s.t.Context(), s.app)
		return err == nil && len(snap.Instances) > 0
	})
}

// wrapped is a gRPC frame with a TripleResponseWrapper.
func wrapped(data string) string {
	b := appendProto(appendProto(nil, protoSerialization, "hessian4"), protoData, data)
	return string(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b)))) + string(b)
}

func TestTripleHessian(t *testing.T) {
	var status, message, answer, thrown string
	var seen *http.Request
	var body []byte
	port := startTriple(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r
		body, _ = io.ReadAll(r.Body) // what is missing fails the test below
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		w.Header().Set("Content-Type", "application/grpc+proto")
		if thrown != "" {
			w.Header().Set("Tri-Exception-Code", thrown)
		}
		_, _ = io.WriteString(w, answer) // the client tells
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", message)
	})
	s := openShop(t, Config{})
	s.putTriple("a", port)
	r := s.route()
	r.Upstream.Dubbo.Group, r.Upstream.Dubbo.Version = "blue", "1.0.0"
	h, err := s.d.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	status, answer = "0", wrapped("\x91")
	waitFor(t, func() bool { return ask(h, http.MethodPost).Code != http.StatusServiceUnavailable })
	want(t, ask(h, http.MethodPost, "X-Tenant", "acme"), http.StatusOK, "1")
	if seen.URL.Path != "/org.example.StockService/$invoke" || seen.ProtoMajor != 2 || seen.Header.Get("Content-Type") != "application/grpc+proto" ||
		seen.Header.Get("Tri-Service-Group") != "blue" || seen.Header.Get("Tri-Service-Version") != "1.0.0" || seen.Header.Get("Tenant") != "acme" ||
		!strings.HasSuffix(seen.Header.Get("Grpc-Timeout"), "m") {
		t.Errorf("%s %v", seen.URL, seen.Header)
	}
	if !strings.Contains(string(body), "\x05count") || !strings.Contains(string(body), "\x71\x07[object\x04book") {
		t.Errorf("%q", body)
	}
	for _, c := range []struct {
		status, message, answer string
		code                    int
		words                   string
	}{
		{"0", "", wrapped(""), 200, "null"},
		{"0", "", "", 200, "null"},
		{"0", "", wrapped("\x40"), 502, "should be"},
		{"0", "", "nonsense", 502, "no whole gRPC frame"},
		{"", "", "", 502, "no status"},
		{"12", "", "", 404, "does not have the method"},
		{"2", "out of stock%21", "", 500, "out of stock!"},
		{"13", "boom", "", 502, "status 13"},
		{"4", "", "", 504, "ran out of time"},
		{"3", "bad sku", "", 400, "bad sku"},
		{"x", "", "", 502, `status \"x\"`},
	} {
		status, message, answer = c.status, c.message, c.answer
		want(t, ask(h, http.MethodPost), c.code, c.words)
	}

	// Dubbo Java puts an exception where the answer would be; its cause is itself.
	status, message, answer = "0", "", wrapped("C\x07a.B.Exc\x92\x0ddetailMessage\x05cause\x60\x04oops\x51\x90")
	thrown = "3"
	want(t, ask(h, http.MethodPost), http.StatusUnprocessableEntity, "oops", "a.B.Exc")
	thrown = "0" // which says that there is none
	want(t, ask(h, http.MethodPost), http.StatusBadGateway, "refers to itself")
}

func TestTripleJSON(t *testing.T) {
	reply := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }
	port := startTriple(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		reply(w, r)
	})
	s := openShop(t, Config{})
	s.putTriple("a", port)
	r := s.route(gateway.Filter{Timeout: &gateway.Timeout{Total: gateway.Duration(5 * time.Second)}})
	r.Upstream.Dubbo.Args, r.Upstream.Dubbo.Message = nil, &gateway.Message{Fields: map[string]string{"sku": "path.sku"}}
	h, err := s.d.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return ask(h, http.MethodPost).Code == http.StatusOK })
	reply = func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing fails the test below
		fmt.Fprintf(w, `{"path":%q,"body":%s,"left":%q}`, r.URL.Path, body, r.Header.Get("Triple-Timeout-Ms"))
	}
	want(t, ask(h, http.MethodPost), http.StatusOK, `"path":"/org.example.StockService/count"`, `"body":{"sku":"book"}`, `"left":"49`)
	for _, c := range []struct {
		status int
		body   string
		want   int
	}{
		{http.StatusOK, "no JSON", 502},
		{http.StatusNotFound, "404 page not found", 404},
		{http.StatusUnsupportedMediaType, "", 502},
		{http.StatusBadRequest, `{"code":"invalid_argument","message":"bad"}`, 400},
		{http.StatusInternalServerError, `{"code":"code_17","message":"out of stock"}`, 500},
		{http.StatusInternalServerError, `{"message":"out of stock","status":"500"}`, 500},
		{http.StatusInternalServerError, "", 502},
		{http.StatusServiceUnavailable, `{"code":"unavailable"}`, 503},
	} {
		reply = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}
		want(t, ask(h, http.MethodPost), c.want)
	}
	release := make(chan struct{})
	reply = func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // the gateway gives up
		close(release)
	}
	r.Filters[0].Timeout.Total = gateway.Duration(20 * time.Millisecond)
	if h, err = s.d.Compile(r); err != nil {
		t.Fatal(err)
	}
	want(t, ask(h, http.MethodPost), http.StatusGatewayTimeout)
	<-release
}

func FuzzHTTPProblem(f *testing.F) {
	f.Add(500, []byte(`{"code":"code_17","message":"out of stock"}`))
	f.Add(404, []byte(`404 page not found`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if p := httpProblem(status, body); p.Status < 400 || p.Status > 599 || p.Detail == "" {
			t.Fatalf("%d %s gives %+v", status, body, p)
		}
	})
}
