package proxy

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestAgreesWithReverseProxy sends many sorts of requests through this proxy and
// through the standard library's to an upstream with many sorts of answers: both
// sides see the same, but for what is meant to differ.
func TestAgreesWithReverseProxy(t *testing.T) {
	f := start(t, nil)
	var mu sync.Mutex
	var arrived string
	up := f.upstream(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := r.Header.Clone()
		for _, ours := range []string{"Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			h.Del(ours)
		}
		mu.Lock()
		arrived = fmt.Sprintf("%s %s %v %d %q %v", r.Method, r.RequestURI, sorted(h), r.ContentLength, body, sorted(r.Trailer))
		mu.Unlock()
		answerAs(w, r.Header.Get("X-Answer"))
	})
	told := func() string {
		mu.Lock()
		defer mu.Unlock()
		return arrived
	}
	f.routes(toURL("all", every, up.URL))
	target, _ := url.Parse(up.URL)
	oracle := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		// As ours, compression is between client and upstream.
		Transport: &http.Transport{DisableCompression: true},
	})
	t.Cleanup(oracle.Close)
	t.Cleanup(func() {
		oracle.Config.Handler.(*httputil.ReverseProxy).Transport.(*http.Transport).CloseIdleConnections()
	})
	d := dice{rand.New(rand.NewPCG(7, 7))}
	for range 400 {
		raw := d.rawRequest()
		ours, weSent := exchangeRaw(t, f.server.URL, raw), told()
		theirs, theySent := exchangeRaw(t, oracle.URL, raw), told()
		if ours != theirs {
			t.Fatalf("%q:\n  ours   %s\n  theirs %s", raw, ours, theirs)
		}
		if weSent != theySent {
			t.Fatalf("%q:\n  we send   %s\n  they send %s", raw, weSent, theySent)
		}
	}
}

func sorted(h http.Header) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		out = append(out, fmt.Sprintf("%s=%q", name, h[name]))
	}
	return out
}

func answerAs(w http.ResponseWriter, kind string) {
	h := w.Header()
	h["Date"] = nil
	h.Set("X-Two", "1")
	h.Add("X-Two", "2")
	switch kind {
	case "empty":
	case "204", "304", "404", "500":
		var status int
		fmt.Sscan(kind, &status)
		w.WriteHeader(status)
	case "large":
		h.Set("Content-Length", "100000")
		io.WriteString(w, strings.Repeat("x", 100000))
	case "chunked":
		for range 3 {
			io.WriteString(w, strings.Repeat("y", 3000))
			w.(http.Flusher).Flush()
		}
	case "cookies":
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2; Path=/")
		io.WriteString(w, "ok")
	case "hop":
		h.Set("Connection", "X-Hop, Keep-Alive")
		h.Set("X-Hop", "1")
		h.Set("Keep-Alive", "timeout=3")
		h.Set("Proxy-Authenticate", "Basic")
		io.WriteString(w, "ok")
	case "trailer":
		h.Set("Trailer", "X-T")
		io.WriteString(w, "ok")
		h.Set("X-T", "1")
	default:
		h.Set("Content-Encoding", "gzip") // which it is not: nobody may look
		h.Set("Etag", `"x"`)
		io.WriteString(w, "ok")
	}
}

func (d dice) rawRequest() string {
	method := d.pick("GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PURGE")
	target := d.pick("/", "/a/b", "/a%2Fb", "/a%20b?x=1", "/a;b=c/d?", "/é", "/a'(b)*", "/%41")
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: shop.example\r\nX-Answer: %s\r\n", method, target,
		d.pick("empty", "204", "304", "404", "500", "large", "chunked", "cookies", "hop", "trailer", "plain"))
	connection := []string{"close"}
	for range d.IntN(4) {
		switch d.IntN(8) {
		case 0:
			b.WriteString("X-Secret: 1\r\n")
			connection = append(connection, "x-secret")
		case 1:
			b.WriteString("Accept-Encoding: br, gzip\r\n")
		case 2:
			b.WriteString("Cookie: a=1; b=2\r\n")
		case 3:
			b.WriteString("X-Many: 1\r\nX-Many: 2\r\n")
		case 4:
			b.WriteString("TE: trailers\r\n")
		case 5:
			b.WriteString("User-Agent: test\r\n")
		case 6:
			b.WriteString("Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n")
		case 7:
			b.WriteString("X-Empty:\r\n")
		}
	}
	fmt.Fprintf(&b, "Connection: %s\r\n", strings.Join(connection, ", "))
	body := strings.Repeat("b", []int{0, 1, 100, 70000}[d.IntN(4)])
	switch {
	case method == "GET" || method == "HEAD" || d.IntN(4) == 0:
		b.WriteString("\r\n")
	case d.IntN(2) == 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	case body == "":
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	default:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	return b.String()
}

// exchangeRaw sends a request and says what came back.
func exchangeRaw(t *testing.T, server, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(server, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	answer, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	answer.Header.Del("Date")
	return fmt.Sprintf("%d %v %d %d:%.20q %v", answer.StatusCode, sorted(answer.Header), answer.ContentLength, len(body), body, sorted(answer.Trailer))
}
