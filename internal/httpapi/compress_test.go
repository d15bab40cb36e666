package httpapi_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/internal/httpapi"
)

// answering serves one operation, whose body has about as many bytes as asked for,
// and handlers that are mounted as they are.
func answering(t *testing.T) string {
	t.Helper()
	type in struct {
		Bytes   int    `query:"bytes"`
		Control string `query:"control"`
		Cookie  string `query:"cookie"`
	}
	type out struct {
		ETag      string `header:"ETag"`
		Control   string `header:"Cache-Control"`
		SetCookie string `header:"Set-Cookie"`
		Body      struct {
			Text string `json:"text"`
		}
	}
	api := httpapi.New(http.NewServeMux(), httpapi.Config{Title: "test", Version: "1"})
	httpapi.Register(api, httpapi.Op[in]{
		Operation: huma.Operation{OperationID: "get-text", Method: http.MethodGet, Path: "/text"}, Public: true,
	}, func(_ context.Context, in *in) (*out, error) {
		o := &out{ETag: httpapi.ETag(7), Control: in.Control, SetCookie: in.Cookie}
		o.Body.Text = strings.Repeat("x", in.Bytes)
		return o, nil
	})
	api.HandlePublic("GET /stream", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d %s\n\n", i, strings.Repeat("x", 2000))
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
		}
		io.WriteString(w, "data: end\n\n")
	}))
	// JSON that comes piece by piece is held back only while it is small.
	api.HandlePublic("GET /pieces", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, `["`)
		if r.URL.Query().Has("flush") {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Errorf("flush: %v", err)
			}
		}
		for range 400 {
			io.WriteString(w, "0123456789")
		}
		io.WriteString(w, `"]`)
	}))
	api.HandlePublic("GET /broken", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `["`+strings.Repeat("x", 5000))
		panic("broken in the middle")
	}))
	api.HandlePublic("GET /silent", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
	}))
	srv := httptest.NewServer(api.Handler())
	t.Cleanup(srv.Close)
	return srv.URL
}

// ask sends a request whose answer is not inflated on the way.
func ask(t *testing.T, method, url, accept string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept-Encoding", accept)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp, raw, err
}

func inflate(t *testing.T, raw []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWhatIsCompressed(t *testing.T) {
	base := answering(t)
	for name, c := range map[string]struct {
		method, path, accept string
		want                 bool
	}{
		"large":                                  {"GET", "/text?bytes=5000", "gzip", true},
		"as browsers ask":                        {"GET", "/text?bytes=5000", "gzip, deflate, br, zstd", true},
		"by weight":                              {"GET", "/text?bytes=5000", "br;q=1.0, gzip;q=0.5", true},
		"anything":                               {"GET", "/text?bytes=5000", "*", true},
		"pieces":                                 {"GET", "/pieces", "gzip", true},
		"the description":                        {"GET", "/openapi.json", "gzip", true},
		"small":                                  {"GET", "/text?bytes=500", "gzip", false},
		"nobody asked":                           {"GET", "/text?bytes=5000", "", false},
		"refused by weight":                      {"GET", "/text?bytes=5000", "gzip;q=0", false},
		"refused by name, not by *":              {"GET", "/text?bytes=5000", "*, gzip;q=0.0", false},
		"another coding":                         {"GET", "/text?bytes=5000", "br", false},
		"a weight that is none":                  {"GET", "/text?bytes=5000", "gzip;q=much", false},
		"HEAD":                                   {"HEAD", "/pieces", "gzip", false},
		"a secret":                               {"GET", "/text?bytes=5000&control=no-store", "gzip", false},
		"not to be transformed":                  {"GET", "/text?bytes=5000&control=private,+No-Transform", "gzip", false},
		"a session":                              {"GET", "/text?bytes=5000&cookie=a=b", "gzip", false},
		"a problem":                              {"GET", "/text?bites=" + strings.Repeat("5", 5000), "gzip", false},
		"nothing is there":                       {"GET", "/" + strings.Repeat("nothing", 500), "gzip", false},
		"a stream":                               {"GET", "/stream", "gzip", false},
		"JSON that is flushed while it is small": {"GET", "/pieces?flush", "gzip", false},
		"YAML":                                   {"GET", "/openapi.yaml", "gzip", false},
		"an answer without a word":               {"GET", "/silent", "gzip", false},
	} {
		t.Run(name, func(t *testing.T) {
			resp, raw, err := ask(t, c.method, base+c.path, c.accept)
			if err != nil {
				t.Fatal(err)
			}
			_, plain, err := ask(t, c.method, base+c.path, "")
			if err != nil {
				t.Fatal(err)
			}
			h := resp.Header
			if !c.want {
				if h.Get("Content-Encoding") != "" || !bytes.Equal(raw, plain) {
					t.Fatalf("%v %.100q", h, raw)
				}
				return
			}
			if h.Get("Content-Encoding") != "gzip" || h.Get("Vary") != "Accept-Encoding" || resp.ContentLength > int64(len(plain)) {
				t.Fatalf("%v", h)
			}
			if got := inflate(t, raw); !bytes.Equal(got, plain) || !json.Valid(got) {
				t.Errorf("%.100q is not %.100q", got, plain)
			}
		})
	}
	resp, _, _ := ask(t, "GET", base+"/text?bytes=5000", "gzip")
	if resp.Header.Get("ETag") != `"7"` {
		t.Errorf("the version became %s, by which nobody can write", resp.Header.Get("ETag"))
	}
	if resp, _, _ := ask(t, "GET", base+"/text?bytes=5000", ""); resp.Header.Get("Vary") != "Accept-Encoding" {
		t.Error("a cache would give the plain answer to all")
	}
}

// What broke in the middle is not made to look whole.
func TestABrokenAnswerIsSeenToBeBroken(t *testing.T) {
	base := answering(t)
	if _, raw, err := ask(t, "GET", base+"/broken", "gzip"); err == nil {
		t.Errorf("%.100q", raw)
	}
}

// Streams pass event by event.
func TestStreamsAreNotHeldBack(t *testing.T) {
	base := answering(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "data: 0 ") {
		t.Errorf("%.40q %v", line, err)
	}
}
