package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// leastCompressed is the size, in bytes, from which an answer is worth it: a
// smaller one fits into a packet or two as it is.
const leastCompressed = 1 << 10

// compressed answers JSON with gzip where the client takes it. The decision falls
// with the first writes, so an answer that is written at once, as all operations
// write theirs, is compressed or not by its size. What it leaves alone:
//
//   - answers with Cache-Control no-store, which is how those with a password or a
//     token's secret are marked, and those that set a cookie: the length of a
//     compressed answer tells of its content to who can have some of it chosen
//     (BREACH);
//   - anything but JSON, above all streams, and what is flushed before it is large.
//
// An ETag stays as it is: it names a version of what is stored, by which writers
// say what they have seen, and not a sequence of bytes.
type compressed struct {
	http.ResponseWriter
	r       *http.Request
	status  int  // that was asked for; 0 for none yet
	may     bool // it is one to compress
	decided bool // from then on status is sent
	held    []byte
	zip     *gzip.Writer // nil for an answer as it is
}

// Higher levels make traces a fifth smaller at most, and take twice the time.
const compressLevel = gzip.BestSpeed

var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, compressLevel)
	if err != nil {
		panic(err) // the level is a constant above
	}
	return z
}}

// WriteHeader implements http.ResponseWriter.
func (c *compressed) WriteHeader(status int) {
	switch {
	case c.decided || status < http.StatusOK:
		c.ResponseWriter.WriteHeader(status)
	case c.status != 0: // net/http complains of a second one
		c.decide(false)
		c.ResponseWriter.WriteHeader(status)
	default:
		c.status = status
		if c.may = c.eligible(); !c.may {
			c.decide(false)
		}
	}
}

// Write implements http.ResponseWriter.
func (c *compressed) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	if !c.decided {
		if len(c.held)+len(b) < leastCompressed {
			c.held = append(c.held, b...)
			return len(b), nil
		}
		c.decide(AcceptsGzip(c.r))
	}
	if c.zip != nil {
		return c.zip.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// eligible reports whether the answer that begins is one to compress, if it is
// large and the client takes it.
func (c *compressed) eligible() bool {
	h := c.Header()
	if c.r.Method == http.MethodHead || c.status == http.StatusNoContent || c.status == http.StatusNotModified ||
		h.Get("Content-Encoding") != "" || len(h["Set-Cookie"]) > 0 || !isJSON(h.Get("Content-Type")) {
		return false
	}
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil && n < leastCompressed {
		return false
	}
	control := strings.ToLower(strings.Join(h["Cache-Control"], ","))
	return !strings.Contains(control, "no-store") && !strings.Contains(control, "no-transform")
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// decide sends the header and what was held back.
func (c *compressed) decide(zip bool) {
	c.decided = true
	if c.may {
		c.Header().Add("Vary", "Accept-Encoding") // caches need it of the plain one too
	}
	if zip {
		h := c.Header()
		h.Del("Content-Length")
		h.Set("Content-Encoding", "gzip")
		z, _ := zippers.Get().(*gzip.Writer)
		z.Reset(c.ResponseWriter)
		c.zip = z
	}
	if c.status != 0 {
		c.ResponseWriter.WriteHeader(c.status)
	}
	if len(c.held) == 0 {
		return
	}
	if c.zip != nil {
		_, _ = c.zip.Write(c.held) // the client went away, as the next write tells
	} else {
		_, _ = c.ResponseWriter.Write(c.held) // the same
	}
	c.held = nil
}

// end sends what is left of an answer whose handler has returned. After a panic it
// is not called: the client is to see that the answer is not whole.
func (c *compressed) end() {
	if !c.decided {
		c.decide(false)
	}
	if c.zip != nil {
		_ = c.zip.Close() // the client went away
		zippers.Put(c.zip)
		c.zip = nil
	}
}

// Flush implements http.Flusher.
func (c *compressed) Flush() {
	if !c.decided {
		c.decide(false)
	}
	if c.zip != nil {
		_ = c.zip.Flush() // the client went away
	}
	_ = http.NewResponseController(c.ResponseWriter).Flush() // as http.Flusher, it tells nobody
}

// Unwrap lets http.ResponseController reach the connection.
func (c *compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// AcceptsGzip reports whether a client takes gzip. One that says nothing does not:
// it may not know what to do with it.
func AcceptsGzip(r *http.Request) bool {
	gz, others := -1.0, -1.0 // by how much; less than zero is not said
	for _, line := range r.Header["Accept-Encoding"] {
		for part := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(part, ";")
			weight := 1.0
			if q, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q="); ok {
				v, err := strconv.ParseFloat(q, 64)
				if err != nil {
					continue
				}
				weight = v
			}
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				gz = max(gz, weight)
			case "*":
				others = max(others, weight)
			}
		}
	}
	if gz >= 0 {
		return gz > 0
	}
	return others > 0
}
