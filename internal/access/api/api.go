// Package api serves login and logout, who one is, accounts, API tokens and the
// audit, below /api/v1.
package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/httpapi"
)

// Store keeps accounts, sessions, tokens and the audit; see
// internal/access/postgres for what its methods promise.
type Store interface {
	access.Auditor
	Login(ctx context.Context, name, password, remote string) (secret string, a access.Account, err error)
	Logout(ctx context.Context, secret string) error
	SetPassword(ctx context.Context, name, password string) (string, error)
	Accounts(ctx context.Context) ([]access.Account, error)
	CreateAccount(ctx context.Context, a access.Account, password string) (made access.Account, set string, err error)
	ChangeAccount(ctx context.Context, name string, c access.AccountChange) (access.Account, error)
	DeleteAccount(ctx context.Context, name string) error
	CreateToken(ctx context.Context, t access.Token) (secret string, made access.Token, err error)
	Tokens(ctx context.Context) ([]access.Token, error)
	RevokeToken(ctx context.Context, name string) error
	Audit(ctx context.Context, q access.AuditQuery) ([]access.Entry, error)
}

// Proven remembers what credentials proved, such as access.Auth.
type Proven interface {
	// Forget is called after something changed that they prove.
	Forget()
	// ForgetSession is called when a session ends.
	ForgetSession(secret string)
}

type proveAlways struct{}

func (proveAlways) Forget()              {}
func (proveAlways) ForgetSession(string) {}

// Deps are what the operations work on.
type Deps struct {
	Store Store
	// Proven is told of what changed; it may be nil.
	Proven Proven
	// Now is the clock, time.Now when nil.
	Now func() time.Time
}

// How often somebody may try to log in: by name and peer, and by peer.
const (
	nameBurst   = 5
	nameEvery   = 10 * time.Second
	remoteBurst = 20
	remoteEvery = 3 * time.Second
	limitKeys   = 20_000
)

type service struct {
	Deps
	byName, byRemote *access.Limiter
}

// Me is who a request acts as.
type Me struct {
	Kind       access.Kind `json:"kind"`
	Name       string      `json:"name"`
	Role       access.Role `json:"role"`
	Namespaces []string    `json:"namespaces" doc:"Those that bound the role; empty for all." nullable:"false"`
}

func me(p access.Principal) Me {
	m := Me{Kind: p.Kind, Name: p.Name, Role: p.Role, Namespaces: p.Namespaces}
	if m.Namespaces == nil {
		m.Namespaces = []string{}
	}
	return m
}

// Tokens is a list of tokens.
type Tokens struct {
	Items []access.Token `json:"items" nullable:"false"`
}

// NewToken asks for a token.
type NewToken struct {
	Name       string      `json:"name" doc:"What audits call it: lower-case letters, digits, dots, dashes, underscores."`
	Kind       access.Kind `json:"kind,omitempty" enum:"token,serviceaccount" doc:"serviceaccount is for running services outside Kubernetes; such a token has no role."`
	Role       access.Role `json:"role,omitempty" enum:"viewer,operator,admin"`
	Namespaces []string    `json:"namespaces,omitempty" doc:"Those that bound it; none for all."`
	Expires    time.Time   `json:"expires,omitzero"`
}

// MadeToken is a new token with its secret, which is shown this once.
type MadeToken struct {
	Token  access.Token `json:"token"`
	Secret string       `json:"secret"`
}

// Audit is a range of the audit.
type Audit struct {
	Items []access.Entry `json:"items" nullable:"false"`
	// Next continues the range as the parameter before; 0 at its end.
	Next int64 `json:"next"`
}

// Register adds the operations to an API.
func Register(a *httpapi.API, deps Deps) {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Proven == nil {
		deps.Proven = proveAlways{}
	}
	s := &service{
		Deps:     deps,
		byName:   access.NewLimiter(nameBurst, nameEvery, limitKeys, deps.Now),
		byRemote: access.NewLimiter(remoteBurst, remoteEvery, limitKeys, deps.Now),
	}
	s.registerSessions(a)
	s.registerAccounts(a)
	s.registerTokens(a)
	s.registerAudit(a)
}

func operation(id, method, path, summary string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"access"}}
}

type meOut struct {
	Body Me
}

type loginIn struct {
	Body struct {
		User     string `json:"user" maxLength:"63"`
		Password string `json:"password" maxLength:"1024"`
	}
}

type loginOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      Me
}

type logoutIn struct {
	Session string `cookie:"weir_session"`
}

type logoutOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type passwordIn struct {
	Body struct {
		Current string `json:"current"`
		New     string `json:"new" minLength:"12" maxLength:"256"`
	}
}

func (s *service) registerSessions(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[loginIn]{
		Operation: operation("login", http.MethodPost, "/api/v1/login", "Begin a session with name and password"),
		Public:    true,
	}, s.login)
	logout := operation("logout", http.MethodPost, "/api/v1/logout", "End the session")
	logout.DefaultStatus = http.StatusNoContent
	httpapi.Register(a, httpapi.Op[logoutIn]{Operation: logout, Role: access.Viewer, Scoped: true, Recent: true}, s.logout)
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: operation("get-me", http.MethodGet, "/api/v1/me", "Who this request acts as"),
		Role:      access.Viewer, Scoped: true,
	}, func(ctx context.Context, _ *struct{}) (*meOut, error) {
		p, _ := access.From(ctx)
		return &meOut{Body: me(p)}, nil
	})
	change := operation("change-password", http.MethodPost, "/api/v1/me/password", "Change one's own password")
	change.Description = "Ends all sessions of the account."
	change.DefaultStatus = http.StatusNoContent
	httpapi.Register(a, httpapi.Op[passwordIn]{
		Operation: change, Role: access.Viewer, Scoped: true, Write: true, NoReason: true,
		Object: func(*passwordIn) string { return "own password" },
	}, s.changePassword)
}

// cookie is the session's cookie. Browsers keep it until they are closed; the
// session ends by itself before that when it is not used.
func cookie(ctx context.Context, secret string) http.Cookie {
	secure := false
	if r := httpapi.Request(ctx); r != nil {
		secure = r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
	}
	return http.Cookie{ //nolint:gosec // Secure where there is TLS: on a laptop there is none
		Name: access.SessionCookie, Value: secret, Path: "/", HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}
}

// allow bounds the tries of one peer, with one name and with any.
func (s *service) allow(remote, name string) error {
	wait, ok := s.byRemote.Take(remote)
	if ok {
		wait, ok = s.byName.Take(remote + " " + name)
	}
	if ok {
		return nil
	}
	seconds := strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
	return httpapi.NewProblem(http.StatusTooManyRequests, "too many tries to log in: wait "+seconds+" s").WithHeader("Retry-After", seconds)
}

func (s *service) login(ctx context.Context, in *loginIn) (*loginOut, error) {
	name, remote := in.Body.User, httpapi.Remote(ctx)
	if strings.ContainsFunc(name, unicode.IsControl) {
		return nil, httpapi.BadRequest("body.user", "it holds control characters")
	}
	if err := s.allow(remote, name); err != nil {
		return nil, err
	}
	entry := access.Entry{Time: s.Now(), Principal: string(access.KindUser) + ":" + name, Action: "login", Object: "session", Remote: remote, Outcome: "ok"}
	secret, account, err := s.Store.Login(ctx, name, in.Body.Password, remote)
	if err != nil {
		entry.Outcome = "denied: " + err.Error()
		if access.CodeOf(err) != access.Unavailable {
			if _, auditErr := s.Store.Begin(ctx, entry); auditErr != nil {
				return nil, auditErr
			}
		}
		return nil, err
	}
	if _, err := s.Store.Begin(ctx, entry); err != nil {
		return nil, err
	}
	s.byName.Forget(remote + " " + name)
	return &loginOut{SetCookie: cookie(ctx, secret), Body: me(account.Principal())}, nil
}

// logout ends a session. Where the database does not answer, this control plane and
// the browser forget it all the same.
func (s *service) logout(ctx context.Context, in *logoutIn) (*logoutOut, error) {
	c := cookie(ctx, "") //nolint:gosec // cookie sets what it asks for
	c.MaxAge = -1
	if in.Session == "" {
		return &logoutOut{SetCookie: c}, nil
	}
	// Afterwards: who asks meanwhile is told that it lives.
	defer s.Proven.ForgetSession(in.Session)
	err := s.Store.Logout(ctx, in.Session)
	if access.CodeOf(err) == access.Unavailable {
		return nil, httpapi.NewProblem(http.StatusServiceUnavailable,
			"this browser is logged out, but the database does not answer, so that the session itself could not be ended: once it is back, it lives until it was not used for 12 hours").
			WithHeader("Set-Cookie", c.String()).WithHeader("Retry-After", "1")
	}
	if err != nil {
		return nil, err
	}
	return &logoutOut{SetCookie: c}, nil
}

func (s *service) changePassword(ctx context.Context, in *passwordIn) (*struct{}, error) {
	p, _ := access.From(ctx)
	if p.Kind != access.KindUser {
		return nil, &access.DeniedError{Message: p.String() + " has no password: log in as a person"}
	}
	remote := httpapi.Remote(ctx)
	if err := s.allow(remote, p.Name); err != nil {
		return nil, err
	}
	secret, _, err := s.Store.Login(ctx, p.Name, in.Body.Current, remote)
	if err != nil {
		if access.CodeOf(err) == access.Unavailable {
			return nil, err
		}
		return nil, httpapi.BadRequest("body.current", "the current password is wrong")
	}
	defer s.Proven.Forget()
	if _, err := s.Store.SetPassword(ctx, p.Name, in.Body.New); err != nil {
		return nil, err
	}
	return nil, s.Store.Logout(ctx, secret)
}

type tokensOut struct {
	Body Tokens
}

type createIn struct {
	Body NewToken
}

type createOut struct {
	CacheControl string `header:"Cache-Control"`
	Body         MadeToken
}

type revokeIn struct {
	Name string `path:"name" maxLength:"63"`
}

func (s *service) registerTokens(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[struct{}]{
		Operation: operation("list-tokens", http.MethodGet, "/api/v1/tokens", "List API tokens, without their secrets"),
		Role:      access.Admin,
	}, func(ctx context.Context, _ *struct{}) (*tokensOut, error) {
		items, err := s.Store.Tokens(ctx)
		if items == nil {
			items = []access.Token{}
		}
		return &tokensOut{Body: Tokens{Items: items}}, err
	})
	create := operation("create-token", http.MethodPost, "/api/v1/tokens", "Make an API token; its secret is shown this once")
	create.DefaultStatus = http.StatusCreated
	httpapi.Register(a, httpapi.Op[createIn]{
		Operation: create, Role: access.Admin, Write: true,
		Object: func(in *createIn) string { return "token " + in.Body.Name },
	}, func(ctx context.Context, in *createIn) (*createOut, error) {
		t := access.Token{
			Name: in.Body.Name, Kind: in.Body.Kind, Role: in.Body.Role, Namespaces: in.Body.Namespaces, Expires: in.Body.Expires,
			CreatedBy: httpapi.Actor(ctx),
		}
		secret, made, err := s.Store.CreateToken(ctx, t)
		if err != nil {
			return nil, err
		}
		return &createOut{CacheControl: "no-store", Body: MadeToken{Token: made, Secret: secret}}, nil
	})
	revoke := operation("revoke-token", http.MethodDelete, "/api/v1/tokens/{name}", "Revoke an API token")
	revoke.DefaultStatus = http.StatusNoContent
	revoke.Description = fmt.Sprintf("Other control planes take it for up to %s more.", access.TokenFor)
	httpapi.Register(a, httpapi.Op[revokeIn]{
		Operation: revoke, Role: access.Admin, Write: true,
		Object: func(in *revokeIn) string { return "token " + in.Name },
	}, func(ctx context.Context, in *revokeIn) (*struct{}, error) {
		// Whatever comes of it: what is not answered may have been done.
		defer s.Proven.Forget()
		return nil, s.Store.RevokeToken(ctx, in.Name)
	})
}

type auditIn struct {
	From      time.Time `query:"from" doc:"Included; a day before to when left out."`
	To        time.Time `query:"to" doc:"Not included; now when left out."`
	Principal string    `query:"principal" doc:"Such as user:admin."`
	Action    string    `query:"action" doc:"The id of an operation, such as put-route."`
	Object    string    `query:"object" doc:"What the object begins with, such as route shop/."`
	Before    int64     `query:"before" doc:"Only entries with a lower id: next of the answer before."`
	Limit     int       `query:"limit" doc:"1 to 1000; 100 when left out."`
}

type auditOut struct {
	Body Audit
}

func (s *service) registerAudit(a *httpapi.API) {
	httpapi.Register(a, httpapi.Op[auditIn]{
		Operation: operation("list-audit", http.MethodGet, "/api/v1/audit", "What was written, by whom and why, the newest first"),
		Role:      access.Viewer,
	}, func(ctx context.Context, in *auditIn) (*auditOut, error) {
		q := access.AuditQuery{
			From: in.From, To: in.To, Principal: strings.TrimSpace(in.Principal), Action: in.Action, Object: in.Object,
			Before: in.Before, Limit: in.Limit,
		}
		q, err := q.WithDefaults(s.Now())
		if err != nil {
			return nil, err
		}
		items, err := s.Store.Audit(ctx, q)
		if err != nil {
			return nil, err
		}
		out := &auditOut{Body: Audit{Items: items}}
		if items == nil {
			out.Body.Items = []access.Entry{}
		}
		if len(items) == q.Limit {
			out.Body.Next = items[len(items)-1].ID
		}
		return out, nil
	})
}
