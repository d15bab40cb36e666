package access

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Auth is the Authenticator of a control plane: sessions and API tokens from a
// store, tokens of pods from the cluster.
type Auth struct {
	secrets  Secrets
	reviewer TokenReviewer
	now      func() time.Time

	mu     sync.Mutex
	tokens map[string]heldToken
}

type heldToken struct {
	token Token
	until time.Time
}

// TokenFor is the longest that a token counts after another control plane has
// revoked it.
const TokenFor = 5 * time.Second

const maxHeldTokens = 10_000

// NewAuth returns an Authenticator. reviewer may be nil outside Kubernetes; now
// is the clock, time.Now when nil.
func NewAuth(secrets Secrets, reviewer TokenReviewer, now func() time.Time) *Auth {
	if now == nil {
		now = time.Now
	}
	a := &Auth{secrets: secrets, now: now, tokens: make(map[string]heldToken)}
	if reviewer != nil {
		a.reviewer = NewReviews(reviewer, now)
	}
	return a
}

// Authenticate implements Authenticator.
func (a *Auth) Authenticate(ctx context.Context, c Credentials) (Principal, error) {
	switch {
	case strings.HasPrefix(c.Bearer, TokenPrefix):
		return a.byToken(ctx, c.Bearer)
	case c.Bearer != "" && a.reviewer != nil:
		i, err := a.reviewer.Review(ctx, c.Bearer)
		if err != nil {
			return Principal{}, err
		}
		return i.Principal(), nil
	case c.Bearer != "":
		return Principal{}, &DeniedError{Unknown: true, Message: "the token is no API token of Weir, and there is no cluster here that knows others"}
	case c.Session != "":
		find := a.secrets.Session
		if c.Unattended {
			find = a.secrets.LookAtSession
		}
		account, err := find(ctx, HashSecret(c.Session))
		if CodeOf(err) == NotFound {
			return Principal{}, &DeniedError{Unknown: true, Message: "the session has ended: log in again"}
		}
		if err != nil {
			return Principal{}, err
		}
		return account.Principal(), nil
	}
	return Principal{}, &DeniedError{Unknown: true, Message: "nobody is logged in: log in, or send an API token as Authorization: Bearer"}
}

func (a *Auth) byToken(ctx context.Context, secret string) (Principal, error) {
	hash := HashSecret(secret)
	now := a.now()
	a.mu.Lock()
	held, ok := a.tokens[string(hash)]
	a.mu.Unlock()
	if ok && now.Before(held.until) {
		return held.token.Principal(), nil
	}
	token, err := a.secrets.TokenOf(ctx, hash)
	if CodeOf(err) == NotFound {
		a.mu.Lock()
		delete(a.tokens, string(hash))
		a.mu.Unlock()
		return Principal{}, &DeniedError{Unknown: true, Message: "the API token is not known: it was revoked, has expired, or is of another installation"}
	}
	if err != nil {
		return Principal{}, err
	}
	held = heldToken{token: token, until: now.Add(TokenFor)}
	if !token.Expires.IsZero() && token.Expires.Before(held.until) {
		held.until = token.Expires
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.tokens) >= maxHeldTokens {
		clear(a.tokens) // they are asked for again
	}
	a.tokens[string(hash)] = held
	return token.Principal(), nil
}

// Forget makes what is remembered of tokens be asked for again: call it when
// one was revoked here.
func (a *Auth) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.tokens)
}
