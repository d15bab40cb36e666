package console_test

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/weirmesh/weir/governance/console"
)

var (
	script  = strings.Repeat("console.log('weir');\n", 200)
	unbuilt = fstest.MapFS{"unbuilt.html": {Data: []byte("not built")}}
	built   = fstest.MapFS{
		"unbuilt.html":             {Data: []byte("not built")},
		"app/index.html":           {Data: []byte("<!doctype html><title>Weir</title>" + strings.Repeat("<p>", 500))},
		"app/.vite/manifest.json":  {Data: []byte("{}")},
		"app/favicon.svg":          {Data: []byte("<svg/>")},
		"app/assets/main-1a2b.js":  {Data: []byte(script)},
		"app/assets/main-1a2b.css": {Data: []byte("a{}")},
	}
)

// ask sends a request to the pages; headers are names and values.
func ask(t *testing.T, assets fstest.MapFS, method, path string, headers ...string) *http.Response {
	t.Helper()
	pages, err := console.NewPages(assets)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	pages.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestPagesByPath(t *testing.T) {
	const immutable = "public, max-age=31536000, immutable"
	for _, c := range []struct {
		path        string
		status      int
		contentType string
		cache       string
		holds       string
	}{
		{"/", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/index.html", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/apps/shop/orders", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/routes/shop/v1.2", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/policies/shop/inventory.reserve.js", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/assets/main-1a2b.js", 200, "text/javascript; charset=utf-8", immutable, "console.log"},
		{"/assets/main-1a2b.css", 200, "text/css; charset=utf-8", immutable, "a{}"},
		{"/favicon.svg", 200, "image/svg+xml", "no-cache", "<svg/>"},
		{"/.vite/manifest.json", 200, "text/html; charset=utf-8", "no-cache", "<title>Weir"},
		{"/assets/main-0000.js", 404, "text/plain; charset=utf-8", "no-store", "no such file"},
		{"/assets/", 404, "text/plain; charset=utf-8", "no-store", "no such file"},
		{"/robots.txt", 404, "text/plain; charset=utf-8", "no-store", "no such file"},
		{"/unbuilt.html", 404, "text/plain; charset=utf-8", "no-store", "no such file"},
	} {
		resp := ask(t, built, http.MethodGet, c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != c.contentType || resp.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %s, %v", c.path, resp.Status, resp.Header)
		}
		if got := body(t, resp); !strings.Contains(got, c.holds) {
			t.Errorf("%s: %.100q", c.path, got)
		}
	}
}

// Whatever is answered, the browser is told what the page may do.
func TestPagesAreBoundByHeaders(t *testing.T) {
	for _, path := range []string{"/", "/assets/main-1a2b.js", "/assets/none.js"} {
		h := ask(t, built, http.MethodGet, path).Header
		for _, rule := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(h.Get("Content-Security-Policy"), rule) {
				t.Errorf("%s: %s is not in %q", path, rule, h.Get("Content-Security-Policy"))
			}
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
		if !strings.Contains(h.Get("Permissions-Policy"), "geolocation=()") {
			t.Errorf("%s: Permissions-Policy is %q", path, h.Get("Permissions-Policy"))
		}
	}
}

func TestPagesAreCompressedWhereThatSaves(t *testing.T) {
	resp := ask(t, built, http.MethodGet, "/assets/main-1a2b.js", "Accept-Encoding", "br, gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("Vary") != "Accept-Encoding" || resp.ContentLength >= int64(len(script)/2) {
		t.Errorf("%d bytes, %v", resp.ContentLength, resp.Header)
	}
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := io.ReadAll(z); err != nil || string(raw) != script {
		t.Errorf("%d bytes of another text, %v", len(raw), err)
	}
	for name, accepts := range map[string]string{"nothing said": "", "refused": "gzip;q=0"} {
		resp := ask(t, built, http.MethodGet, "/assets/main-1a2b.js", "Accept-Encoding", accepts)
		if resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Vary") != "Accept-Encoding" || body(t, resp) != script {
			t.Errorf("%s: %v", name, resp.Header)
		}
	}
	if resp := ask(t, built, http.MethodGet, "/favicon.svg", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "" || body(t, resp) != "<svg/>" {
		t.Errorf("a tiny file: %v", resp.Header)
	}
}

func TestPagesAreNotSentTwice(t *testing.T) {
	first := ask(t, built, http.MethodGet, "/").Header.Get("ETag")
	zipped := ask(t, built, http.MethodGet, "/", "Accept-Encoding", "gzip").Header.Get("ETag")
	if first == "" || zipped == "" || first == zipped {
		t.Fatalf("%q and %q, for two sequences of bytes", first, zipped)
	}
	resp := ask(t, built, http.MethodGet, "/audit", "Accept-Encoding", "gzip", "If-None-Match", `"other", W/`+zipped)
	if resp.StatusCode != http.StatusNotModified || resp.Header.Get("ETag") != zipped || resp.Header.Get("Cache-Control") != "no-cache" ||
		resp.Header.Get("Content-Encoding") != "" || body(t, resp) != "" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
	if resp := ask(t, built, http.MethodGet, "/", "If-None-Match", zipped); resp.StatusCode != http.StatusOK {
		t.Errorf("the other form: %s", resp.Status)
	}
	changed := maps.Clone(built)
	changed["app/index.html"] = &fstest.MapFile{Data: []byte("another build")}
	if resp := ask(t, changed, http.MethodGet, "/", "If-None-Match", first); resp.StatusCode != http.StatusOK {
		t.Errorf("another build: %s", resp.Status)
	}
}

func TestHeadTellsWhatGetSends(t *testing.T) {
	get, head := ask(t, built, http.MethodGet, "/"), ask(t, built, http.MethodHead, "/")
	if head.StatusCode != http.StatusOK || body(t, head) != "" {
		t.Errorf("%s with a body", head.Status)
	}
	for _, name := range []string{"Content-Length", "Content-Type", "ETag"} {
		if head.Header.Get(name) == "" || head.Header.Get(name) != get.Header.Get(name) {
			t.Errorf("%s: %q, and %q of GET", name, head.Header.Get(name), get.Header.Get(name))
		}
	}
}

// The API works without a console, so that is no failure.
func TestWithoutABuiltAppThePageSaysSo(t *testing.T) {
	for _, path := range []string{"/", "/apps/shop/orders"} {
		resp := ask(t, unbuilt, http.MethodGet, path)
		if got := body(t, resp); resp.StatusCode != http.StatusOK || got != "not built" || resp.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %s, %q", path, resp.Status, got)
		}
	}
	if resp := ask(t, unbuilt, http.MethodGet, "/assets/main-1a2b.js"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a file of an app: %s", resp.Status)
	}
	if _, err := console.NewPages(fstest.MapFS{}); err == nil {
		t.Error("no page at all was taken")
	}
}

// What this program holds is either page, and both name themselves.
func TestEmbeddedPagesAnswer(t *testing.T) {
	w := httptest.NewRecorder()
	console.Pages().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "Weir") {
		t.Errorf("%d, %.200s", w.Code, w.Body)
	}
}
