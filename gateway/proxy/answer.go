package proxy

import (
	"bytes"
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirmesh/weir/gateway"
)

// ErrorHeader names, on answers that the gateway gives by itself instead of an
// upstream, what was the matter: the code of the problem document.
const ErrorHeader = gateway.ErrorHeader

// Codes of problems. Each answer of the gateway's own has one, in ErrorHeader
// and as the member "code" of its problem document.
const (
	codeNotReady     = "not-ready"      // 503: no routes were read yet
	codeBadPath      = "bad-path"       // 400
	codeTunnel       = "no-tunnel"      // 501
	codeNoRoute      = "no-route"       // 404
	codeMethod       = "method"         // 405
	codeLoop         = "loop"           // 508
	codeTooLarge     = "body-too-large" // 413
	codeBody         = "body"           // 400: the client's body broke off
	codeNoEndpoint   = "no-endpoint"    // 503
	codeConnect      = "connect"        // 502: no connection to the upstream
	codeReset        = "reset"          // 502: the connection broke, or the answer was none
	codeUpgrade      = "upgrade"        // 502: the upstream upgraded to something else
	codeTimeout      = "timeout"        // 504
	codeCircuitOpen  = "circuit-open"   // 503
	codeSwitchedOff  = "switched-off"   // 503
	codeTooMany      = "too-many"       // 429
	codeUnreachable  = "unreachable"    // 500: a filter made no path of it
	codeClientGone   = "client-gone"    // never seen by a client
	statusClientGone = 499              // in logs and metrics, as others have it
)

// problem is what went wrong with a request, in the client's words. It never
// holds an address.
type problem struct {
	status int
	code   string
	detail string
	retry  time.Duration // Retry-After; 0 for none
	allow  string        // Allow, of a 405
	err    error         // for the log: may hold addresses
	// answered says that an upstream stands behind it, so that a fallback helps.
	upstream bool
}

type problemDocument struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Route  string `json:"route,omitempty"`
}

// write answers a problem as RFC 9457 has it.
func (p *problem) write(w http.ResponseWriter, r *http.Request, route string) {
	title := http.StatusText(p.status)
	body, err := json.Marshal(problemDocument{"about:blank", title, p.status, p.detail, p.code, route})
	if err != nil {
		body = []byte("{}") // strings only, so there is no such error
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set(ErrorHeader, p.code)
	if p.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retry.Seconds()))))
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// answer is a whole response, ready to be sent.
type answer struct {
	status int
	header []field
	body   []byte
	on5xx  bool
}

func newAnswer(f *gateway.Fallback) *answer {
	a := &answer{status: f.Status, header: fields(f.Header), on5xx: f.On5xx, body: bytes.TrimSpace(f.Body)}
	contentType := ""
	for _, h := range a.header {
		if h.name == "Content-Type" {
			contentType = h.value
		}
	}
	if len(a.body) == 0 {
		return a
	}
	if contentType == "" {
		a.header = append(a.header, field{"Content-Type", "application/json"})
	} else if text := ""; !isJSON(contentType) && json.Unmarshal(a.body, &text) == nil {
		a.body = []byte(text)
	}
	return a
}

func isJSON(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// write sends the answer, and says by ErrorHeader what it stands for.
func (a *answer) write(w http.ResponseWriter, r *http.Request, code string) {
	h := w.Header()
	for _, f := range a.header {
		h[f.name] = []string{f.value}
	}
	h.Set(ErrorHeader, code)
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead && len(a.body) > 0 {
		w.Write(a.body)
	}
}
