package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmesh/weir/gateway"
)

func TestEventStreamArrivesAsItIsWritten(t *testing.T) {
	f := start(t, nil)
	next := make(chan string)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		for {
			select {
			case s := <-next:
				fmt.Fprintf(w, "data: %s\n\n", s)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	f.routes(toURL("events", every, up.URL))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, f.server.URL+"/x", nil)
	answer, err := f.client.Do(r) // the headers come before the first event
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for _, s := range []string{"one", "two"} {
		next <- s
		if lines.Scan(); lines.Text() != "data: "+s {
			t.Fatalf("got %q", lines.Text())
		}
		lines.Scan()
	}
	// A stream has an end once the gateway stops.
	f.proxy.Drain()
	if lines.Scan() {
		t.Errorf("got %q", lines.Text())
	}
}

// webSocket is an upstream that agrees to an upgrade and echoes bytes. No frames:
// the gateway does not look into them.
func (f *fixture) webSocket(protocol string) string {
	return f.wire(func(c net.Conn, in *bufio.Reader) {
		head := readHead(in)
		if !strings.Contains(strings.ToLower(head), "upgrade: websocket") {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain")
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+protocol+"\r\nSec-Websocket-Accept: x\r\n\r\nhello")
		io.Copy(c, in)
		c.(*net.TCPConn).CloseWrite()
	})
}

func (f *fixture) upgrade(protocol string) (net.Conn, *bufio.Reader, string) {
	f.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	// What follows the request at once must not be lost.
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: k\r\n\r\nearly", protocol)
	in := bufio.NewReader(c)
	return c, in, readHead(in)
}

func TestWebSocket(t *testing.T) {
	for _, protocol := range []string{"http1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			f := start(t, nil)
			f.routes(fmt.Sprintf(`{"name":"ws","match":{},"upstream":{"url":"http://%s","protocol":%q}}`, f.webSocket("websocket"), protocol))
			c, in, head := f.upgrade("WebSocket")
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "Sec-Websocket-Accept: x") {
				t.Fatalf("got %q", head)
			}
			got := make([]byte, 10)
			if _, err := io.ReadFull(in, got); err != nil || string(got) != "helloearly" {
				t.Fatalf("got %q, %v", got, err)
			}
			for _, s := range []string{"a", "bc"} {
				io.WriteString(c, s)
				if _, err := io.ReadFull(in, got[:len(s)]); err != nil || string(got[:len(s)]) != s {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if n := f.proxy.upgraded.Load(); n != 1 {
				t.Errorf("%d upgraded connections", n)
			}
			// A side that is done may still listen.
			io.WriteString(c, "last")
			c.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(in); err != nil || string(rest) != "last" {
				t.Errorf("after the end: %q, %v", rest, err)
			}
			f.until("the connection is forgotten", func() bool { return f.proxy.upgraded.Load() == 0 })
		})
	}
}

func TestOtherUpgradesDoNotPass(t *testing.T) {
	f := start(t, nil)
	f.routes(toURL("ws", every, "http://"+f.webSocket("websocket")))
	for _, protocol := range []string{"h2c", "websocket, h2c", "TLS/1.0"} {
		_, in, head := f.upgrade(protocol)
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("%s: %q", protocol, head)
		}
		body := make([]byte, 5)
		if io.ReadFull(in, body); string(body) != "plain" {
			t.Errorf("%s: %q", protocol, body)
		}
	}
	f.routes(toURL("ws", every, "http://"+f.webSocket("h2c")))
	if _, _, head := f.upgrade("websocket"); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("an upstream that chose another protocol: %q", head)
	}
}

func TestHandshakeWithABodyIsNoHandshake(t *testing.T) {
	f := start(t, nil)
	f.routes(toURL("ws", every, "http://"+f.webSocket("websocket")))
	for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		got := f.raw("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n" + body)
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, "plain") {
			t.Errorf("%q: %q", body, got)
		}
	}
}

func TestWebSocketEndsWhenIdleAndAtShutdown(t *testing.T) {
	f := start(t, nil)
	f.routes(toURL("ws", every, "http://"+f.webSocket("websocket"), `{"timeout":{"idle":"30ms"}}`))
	_, in, _ := f.upgrade("websocket")
	if b, _ := io.ReadAll(in); string(b) != "helloearly" {
		t.Errorf("got %q", b)
	}
	f.routes(toURL("ws", every, "http://"+f.webSocket("websocket")))
	_, in, _ = f.upgrade("websocket")
	io.ReadFull(in, make([]byte, 10))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := f.proxy.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if b, _ := io.ReadAll(in); len(b) != 0 {
		t.Errorf("got %q", b)
	}
	if f.proxy.Ready() == nil {
		t.Error("a stopped gateway is ready")
	}
}

func TestTrailersBothWays(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", body, r.Trailer.Get("X-Check"))
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	f.routes(toURL("t", every, up.URL))
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, f.server.URL+"/x", io.MultiReader(strings.NewReader("body")))
	r.Trailer = http.Header{"X-Check": {"ok"}}
	answer, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "body ok" || answer.Trailer.Get("X-Sum") != "42" || answer.Trailer.Get("X-Late") != "yes" {
		t.Errorf("%q, trailers %v, %v", body, answer.Trailer, err)
	}
}

func TestEarlyHints(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		io.WriteString(w, "done")
	})
	f.routes(toURL("t", every, up.URL))
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
		return nil
	}}
	r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, f.server.URL+"/x", nil)
	answer, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); string(body) != "done" || len(hints) != 1 || hints[0] != "103 </a.css>; rel=preload" || answer.Header.Get("Link") != "" {
		t.Errorf("%q, hints %q, headers %v", body, hints, answer.Header)
	}
}

func TestExpectContinueIsTheUpstreamsToGive(t *testing.T) {
	f := start(t, nil)
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Allowed") == "" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		echo(w, r)
	})
	f.routes(toURL("t", every, up.URL))
	head := "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n"
	// The body is not sent: an upstream that refuses must answer without it.
	if got := f.raw(head + "\r\n"); !strings.HasPrefix(got, "HTTP/1.1 417 ") {
		t.Errorf("got %q", got)
	}
	got := f.raw(head + "X-Allowed: 1\r\n\r\nbody")
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ") || !strings.Contains(got, `"Body":"body"`) {
		t.Errorf("got %q", got)
	}
}

func TestBrokenUpstreams(t *testing.T) {
	f := start(t, nil)
	for name, c := range map[string]struct {
		answer string // what it writes before it closes
		status int    // 0: the client must see that the answer broke off
	}{
		"silent":    {"", 502},
		"nostatus":  {"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n", 502},
		"toolow":    {"HTTP/1.1 042 Low\r\nContent-Length: 0\r\n\r\n", 502},
		"half":      {"HTTP/1.1 200 OK\r\nContent-Le", 502},
		"garbage":   {"SSH-2.0-OpenSSH\r\n\r\n", 502},
		"two":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", 502},
		"short":     {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 0},
		"chunk":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", 0},
		"badchunk":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 0},
		"close":     {"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200},
		"http10":    {"HTTP/1.0 200 OK\r\n\r\nold", 200},
		"early":     {"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", 413},
		"nobody":    {"HTTP/1.1 204 No Content\r\n\r\n", 204},
		"splitting": {"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 0\r\n\r\n", 0},
	} {
		address := f.wire(func(c2 net.Conn, in *bufio.Reader) {
			readHead(in)
			io.WriteString(c2, c.answer)
		})
		f.routes(toURL(name, fmt.Sprintf(`{"path":"/%s"}`, name), "http://"+address))
		got := f.raw(fmt.Sprintf("GET /%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", name))
		answer, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
		if err != nil {
			if c.status != 0 || got != "" { // what was not flushed yet is dropped with the connection
				t.Errorf("%s: %v in %q", name, err, got)
			}
			continue
		}
		_, err = io.ReadAll(answer.Body)
		switch {
		case name == "splitting":
			if answer.Header.Get("X-B") != "" {
				t.Errorf("%s: a header was made of another's value: %q", name, got)
			}
		case c.status == 0 && err == nil:
			t.Errorf("%s: a broken answer looks whole: %q", name, got)
		case c.status != 0 && (err != nil || answer.StatusCode != c.status):
			t.Errorf("%s: %q, %v, want %d", name, got, err, c.status)
		}
	}
}

func TestUpstreamThatReadsNothingAndStalls(t *testing.T) {
	f := start(t, nil)
	released := make(chan struct{})
	stall := f.wire(func(c net.Conn, in *bufio.Reader) {
		readHead(in)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
		<-released
	})
	t.Cleanup(func() { close(released) })
	f.routes(toURL("stall", every, "http://"+stall, `{"timeout":{"idle":"30ms"}}`))
	got := f.raw("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	if !strings.HasSuffix(got, "3\r\nabc\r\n") { // and no end
		t.Errorf("got %q", got)
	}
}

func TestClientThatReadsNothingIsLetGo(t *testing.T) {
	f := start(t, nil)
	ended := make(chan struct{})
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		b := make([]byte, 1<<20)
		for range 1000 {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	f.routes(toURL("flood", every, up.URL, `{"timeout":{"idle":"50ms"}}`))
	c, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	<-ended // though nothing was read
	f.until("the exchange ends", func() bool { return f.proxy.active.Load() == 0 })
}

// TestSmuggling sends requests whose end could be read in two ways. Whatever
// becomes of them, the upstream sees one request, framed in one way, or none.
func TestSmuggling(t *testing.T) {
	f := start(t, nil)
	var heads []string
	var mu sync.Mutex
	address := f.wire(func(c net.Conn, in *bufio.Reader) {
		head := readHead(in)
		if head == "" {
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), in)))
		if err != nil {
			head = "unreadable: " + head
		}
		mu.Lock()
		heads = append(heads, head)
		mu.Unlock()
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		// What was smuggled would follow before the gateway hangs up.
		if more := readHead(in); more != "" {
			mu.Lock()
			heads = append(heads, more)
			mu.Unlock()
		}
	})
	f.routes(toURL("public", `{"path":"/public"}`, "http://"+address))
	const smuggled = "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, request := range map[string]string{
		"length and chunks":    "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":          "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\nContent-Length: 33\r\n\r\n" + smuggled,
		"length list":          "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0, 33\r\n\r\n" + smuggled,
		"odd encoding":         "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: xchunked\r\n\r\n" + smuggled,
		"encoding twice":       "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"space before colon":   "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n" + smuggled,
		"plus length":          "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: +33\r\n\r\n" + smuggled,
		"folded":               "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n" + smuggled,
		"length in Connection": "POST /public HTTP/1.1\r\nHost: h\r\nConnection: close, Content-Length\r\nContent-Length: 32\r\n\r\n" + smuggled,
		"newline in target":    "GET /public%0d%0aX-A:%20b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"absolute target":      "GET http://h/public HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n",
		"tunnel":               "CONNECT /public HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"dots":                 "GET /public/../admin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"encoded dots":         "GET /public/%2e%2e/admin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"h2c":                  "GET /public HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	} {
		mu.Lock()
		heads = nil
		mu.Unlock()
		answer := f.rawHalf(request)
		mu.Lock()
		for _, h := range heads {
			lower := strings.ToLower(h)
			framings := strings.Count(lower, "\r\ncontent-length:") + strings.Count(lower, "\r\ntransfer-encoding:")
			if framings > 1 || strings.Contains(h, "/admin") || strings.Contains(h, "\r\nX-A") || strings.Contains(lower, "upgrade:") || strings.HasPrefix(h, "unreadable") {
				t.Errorf("%s: the upstream saw %q", name, h)
			}
		}
		if len(heads) > 1 {
			t.Errorf("%s: the upstream saw %d requests: %q", name, len(heads), heads)
		}
		mu.Unlock()
		if !strings.HasPrefix(answer, "HTTP/1.1 ") || strings.Contains(answer[9:], "/admin") && strings.Contains(answer, " 200 ") {
			t.Errorf("%s: answered %q", name, answer)
		}
	}
}

// rawHalf sends a request, says that nothing follows, and returns the answer.
func (f *fixture) rawHalf(request string) string {
	f.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(f.server.URL, "http://"))
	if err != nil {
		f.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, request)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.Fatalf("%q: %v", request, err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return fmt.Sprintf("HTTP/1.1 %d %s", answer.StatusCode, body)
}

func TestHTTP2Upstreams(t *testing.T) {
	f := start(t, func(c *Config) { c.TLS = &tls.Config{InsecureSkipVerify: true} })
	show := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		io.Copy(w, r.Body)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}
	plain := httptest.NewUnstartedServer(http.HandlerFunc(show))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(show))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	f.routes(
		fmt.Sprintf(`{"name":"plain","match":{"path":"/plain"},"upstream":{"url":%q,"protocol":"h2c"}}`, plain.URL),
		toURL("secure", `{"path":"/secure"}`, secure.URL),
	)
	for _, path := range []string{"/plain", "/secure"} {
		if r := f.do("POST", path, strings.NewReader("hi"), "Te", "trailers"); r.status != 200 || r.body != "hi" || r.header.Get("X-Proto") != "HTTP/2.0" {
			t.Errorf("%s: %+v", path, r)
		}
	}
	secure.Close()
	if r := f.get("/secure"); r.status != 502 {
		t.Errorf("closed: %+v", r)
	}
}

func TestUntrustedCertificateIsNoConnection(t *testing.T) {
	f := start(t, nil)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	t.Cleanup(secure.Close)
	f.routes(toURL("secure", every, secure.URL))
	if r := f.get("/x"); r.status != 502 || r.problem().Code != codeConnect {
		t.Errorf("got %+v", r)
	}
}

func TestNoRoutesYet(t *testing.T) {
	source := &brokenSource{err: errors.New("the database is away")}
	p, err := New(Config{Node: "n", Source: source})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/x", nil))
	if w.Code != 503 || w.Header().Get(ErrorHeader) != codeNotReady || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %v", w.Code, w.Header())
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClientThatSendsNothing(t *testing.T) {
	f := start(t, func(c *Config) {
		c.Dubbo = compiler(func(gateway.Route) (http.Handler, error) {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					w.WriteHeader(http.StatusBadRequest)
				}
			}), nil
		})
	})
	up := f.upstream(echo)
	early := f.wire(func(c net.Conn, in *bufio.Reader) { // refuses a body without reading it
		readHead(in)
		io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, in)
	})
	f.routes(
		toURL("replay", `{"path":"/replay"}`, up.URL, `{"timeout":{"total":"30ms"}}`, `{"retry":{"attempts":2,"on":["503"]}}`),
		toURL("stream", `{"path":"/stream"}`, up.URL, `{"timeout":{"total":"30ms"}}`),
		toURL("try", `{"path":"/try"}`, up.URL, `{"timeout":{"perTry":"30ms"}}`),
		toURL("early", `{"path":"/early"}`, "http://"+early),
		fmt.Sprintf(toDubbo, `,{"timeout":{"total":"30ms"}}`),
	)
	for path, want := range map[string]string{"/replay": "408", "/stream": "504", "/try": "504", "/early": "413", "/d/1": "400"} {
		got := f.rawHalf("PUT " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
		if path == "/early" {
			continue
		}
		if got := f.raw("PUT " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"); !strings.HasPrefix(got, "HTTP/1.1 200") {
			t.Errorf("%s in time: %q", path, got)
		}
	}
}
