package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirmesh/weir/internal/access"
)

// ReasonHeader says why something is written.
const ReasonHeader = "Weir-Reason"

const reasonQuery = "reason"

// MaxReason bounds a reason, in bytes.
const MaxReason = 500

// request is what this package knows of a request in hand. One goroutine at a
// time uses it.
type request struct {
	http     *http.Request
	reason   string
	object   string
	revision int64
}

type requestKey struct{}

func from(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

func (r *request) entry(ctx context.Context, action string) access.Entry {
	return access.Entry{
		Time: time.Now(), Principal: Actor(ctx), Action: action, Object: plain(r.object), Reason: r.reason, Remote: remote(r.http),
	}
}

// maxPlain bounds what audits keep of an object or an outcome, in bytes.
const maxPlain = 1000

// plain makes one line of bounded length of what may have been sent by anybody
// and has not been looked at.
func plain(text string) string {
	text = text[:min(len(text), maxPlain)]
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// checkAddress refuses what no name and no value holds, and what url.URL.Query
// would pass over without a word.
func checkAddress(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return BadRequest("query", "it is not well formed: percent-encode what is neither letter nor digit")
	}
	if !isText(r.URL.Path) {
		return BadRequest("path", "it holds control characters, or is no UTF-8")
	}
	for name, values := range query {
		if !isText(name) || slices.ContainsFunc(values, func(v string) bool { return !isText(v) }) {
			return BadRequest("query", "a parameter holds control characters, or is no UTF-8")
		}
	}
	return nil
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Actor names who acts in ctx, as audits and change records have it.
func Actor(ctx context.Context) string {
	p, ok := access.From(ctx)
	if !ok {
		return "nobody"
	}
	return p.String()
}

// Reason is why the write in ctx is done.
func Reason(ctx context.Context) string { return from(ctx).reason }

// Object says for the audit what the write in ctx is done to, where that is
// known only once it is done.
func Object(ctx context.Context, object string) { from(ctx).object = object }

// Wrote says for the audit which revision or version the write in ctx made.
func Wrote(ctx context.Context, revision int64) { from(ctx).revision = revision }

// Request returns the HTTP request in ctx, for what inputs cannot hold; nil
// outside of one.
func Request(ctx context.Context) *http.Request { return from(ctx).http }

// Remote is the address of the peer, without its port.
func Remote(ctx context.Context) string { return remote(from(ctx).http) }

// Sees reports whether the one who acts in ctx may read what belongs to a
// namespace, for handlers that narrow a list.
func Sees(ctx context.Context, namespace string) bool {
	p, ok := access.From(ctx)
	return ok && p.Can(access.Viewer, namespace)
}

func remote(r *http.Request) string {
	if r == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func newID() string { return rand.Text()[:12] }

// conditional reports whether a request has a precondition.
func conditional(r *http.Request) bool {
	return r != nil && (r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "")
}

// admit finds out who sends a request and whether they may. The context that it
// returns holds the principal and the request.
func (a *API) admit(r *http.Request, rule rule) (context.Context, error) {
	req := &request{http: r}
	ctx := context.WithValue(r.Context(), requestKey{}, req)
	if rule.public {
		// Nobody is to be logged in by a page of another site, as somebody else.
		if err := a.origins.Check(r); err != nil {
			return nil, errOtherSite
		}
		return ctx, nil
	}
	p, err := a.principal(ctx, r, rule)
	if err != nil {
		return nil, err
	}
	ctx = access.With(ctx, p)
	switch {
	case rule.instance && p.Kind == access.KindInstance:
	case rule.instance:
		if !p.Role.Includes(access.Operator) {
			return nil, &access.DeniedError{Message: p.String() + " may not do this: it is for running services; use the token of a pod's ServiceAccount, or a token of kind instance"}
		}
	case !p.Role.Includes(rule.role):
		if rule.reason && p.Role.Valid() {
			a.record(ctx, rule.id, "denied: it needs the role "+string(rule.role))
		}
		return nil, &access.DeniedError{Message: fmt.Sprintf("%s may not do this: it needs the role %s; ask an admin for it", p, rule.role)}
	}
	if rule.reason {
		if req.reason, err = reasonOf(r); err != nil {
			return nil, err
		}
	}
	return ctx, nil
}

var errOtherSite = &access.DeniedError{Message: "this was sent by a page of another site: use Weir's console, or an API token"}

// principal authenticates a request.
func (a *API) principal(ctx context.Context, r *http.Request, rule rule) (access.Principal, error) {
	c := access.Credentials{
		Remote: remote(r), Unattended: rule.unattended,
		Reads: rule.recent || r.Method == http.MethodGet || r.Method == http.MethodHead,
	}
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
			return access.Principal{}, &access.DeniedError{Unknown: true, Message: "the Authorization header must be `Bearer` and a token"}
		}
		c.Bearer = strings.TrimSpace(token)
	} else if cookie, err := r.Cookie(access.SessionCookie); err == nil && cookie.Value != "" {
		// Browsers send the cookie by themselves, so another site could have
		// made them; SameSite=Strict is the first bar, this is the second.
		if err := a.origins.Check(r); err != nil {
			return access.Principal{}, errOtherSite
		}
		c.Session = cookie.Value
	}
	if c.Bearer == "" && c.Session == "" || a.cfg.Auth == nil {
		return access.Principal{}, &access.DeniedError{Unknown: true, Message: "nobody is logged in: log in, or send an API token as Authorization: Bearer"}
	}
	return a.cfg.Auth.Authenticate(ctx, c)
}

// reasonOf reads the reason of a write.
func reasonOf(r *http.Request) (string, error) {
	location, reason := "header."+ReasonHeader, r.Header.Get(ReasonHeader)
	if strings.Contains(reason, "%") {
		if plain, err := url.PathUnescape(reason); err == nil && utf8.ValidString(plain) {
			reason = plain
		}
	}
	if reason == "" {
		location, reason = "query."+reasonQuery, r.URL.Query().Get(reasonQuery)
	}
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return "", NewProblem(http.StatusBadRequest,
			"a write needs a reason: say why in the header "+ReasonHeader+" or the query parameter reason", At("header."+ReasonHeader, "it is missing"))
	case len(reason) > MaxReason:
		return "", BadRequest(location, fmt.Sprintf("the reason is too long: at most %d bytes", MaxReason))
	case !utf8.ValidString(reason):
		return "", BadRequest(location, "the reason must be UTF-8, or percent-encoded UTF-8")
	case strings.ContainsFunc(reason, unicode.IsControl):
		return "", BadRequest(location, "the reason must be one line of text")
	}
	return reason, nil
}
