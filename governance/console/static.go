package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/weirmesh/weir/internal/httpapi"
)

// pageHeaders stand on every answer. The page may ask its own origin and run its
// own files, and nothing else: what somebody manages to write into it does not run.
var pageHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"font-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}

// contentTypes are those of the files that a build makes. The system's own list
// differs from one machine to the next.
var contentTypes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".json":        "application/json",
	".map":         "application/json",
	".webmanifest": "application/manifest+json",
	".txt":         "text/plain; charset=utf-8",
	".svg":         "image/svg+xml",
	".png":         "image/png",
	".ico":         "image/x-icon",
	".woff2":       "font/woff2",
}

// Where the build puts files whose names hold a hash of their content.
const hashedDir = "/assets/"

// How long answers may be kept: a file of which each version has a name of its
// own for good, any other after asking whether it is still the newest.
const (
	keepForGood  = "public, max-age=31536000, immutable"
	askEachTime  = "no-cache"
	keepNotFound = "no-store" // a newer version may have it in a moment
)

// NewPages serves the console in assets: the app that was built into app/, or
// unbuilt.html in its place. Views have addresses that only the app knows, so
// that any path gets its start page, but for those of files: all below /assets/,
// and names with an ending at the top. Names of routes and policies may hold
// dots, so an ending further down says nothing.
func NewPages(assets fs.FS) (http.Handler, error) {
	p := &pages{files: make(map[string]*file)}
	app, err := fs.Sub(assets, "app")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if p.start, err = readFile(app, "index.html"); errors.Is(err, fs.ErrNotExist) {
		p.start, err = readFile(assets, "unbuilt.html")
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(app, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != "." && strings.HasPrefix(name, ".") {
				return fs.SkipDir // what the build notes for itself
			}
			return nil
		}
		f, err := readFile(app, name)
		p.files["/"+name] = f
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return p, nil
}

// pages is the handler of NewPages.
type pages struct {
	start *file
	files map[string]*file // by path
}

// ServeHTTP implements http.Handler.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range pageHeaders {
		h.Set(name, value)
	}
	at := r.URL.Path
	f := p.files[at]
	switch {
	case f != nil && strings.HasPrefix(at, hashedDir):
		h.Set("Cache-Control", keepForGood)
	case f == nil && isFile(at):
		h.Set("Cache-Control", keepNotFound)
		http.Error(w, "there is no such file in this version of the console", http.StatusNotFound)
		return
	default:
		h.Set("Cache-Control", askEachTime)
		if f == nil {
			f = p.start
		}
	}
	f.answer(w, r)
}

// isFile reports whether a path is one of files rather than of views.
func isFile(at string) bool {
	return strings.HasPrefix(at, hashedDir) || strings.Count(at, "/") == 1 && path.Ext(at) != ""
}

// file is one file in memory.
type file struct {
	contentType string
	raw         []byte
	hash        string
	// zipped is the file as gzip, nil where that is no smaller; it is made when it
	// is first asked for.
	zipped func() []byte
}

func readFile(from fs.FS, name string) (*file, error) {
	raw, err := fs.ReadFile(from, name)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	sum := sha256.Sum256(raw)
	f := &file{contentType: contentTypes[path.Ext(name)], raw: raw, hash: hex.EncodeToString(sum[:12])}
	if f.contentType == "" {
		f.contentType = "application/octet-stream"
	}
	f.zipped = sync.OnceValue(func() []byte { return zip(raw) })
	return f, nil
}

// zip returns raw as gzip, or nil if that saves less than a tenth, as of images.
func zip(raw []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant above
	}
	_, err = z.Write(raw)
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	if out.Len() > len(raw)/10*9 {
		return nil
	}
	return out.Bytes()
}

// answer sends the file, or says that the client has it.
func (f *file) answer(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	body, etag := f.raw, strconv.Quote(f.hash)
	if zipped := f.zipped(); zipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if httpapi.AcceptsGzip(r) {
			body, etag = zipped, strconv.Quote(f.hash+"-gzip")
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", etag)
	if hasTag(r, etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away
	}
}

// hasTag reports whether the client has what the tag stands for.
func hasTag(r *http.Request, etag string) bool {
	for _, line := range r.Header["If-None-Match"] {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}
