package access

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Auth is the Authenticator of a control plane: sessions and API tokens from a
// store, tokens of pods from the cluster.
//
// While the store does not answer, a credential that it proved of late goes on
// counting for what only reads (AuthConfig.Grace), so that the console can say
// what is the matter. What was proven is kept by the credential's hash, never
// longer than the credential itself counts, and dropped when the store refuses it
// or by Forget.
type Auth struct {
	cfg      AuthConfig
	reviewer TokenReviewer
	proven   *proven
	admitted atomic.Int64

	mu   sync.Mutex
	away *outage // nil while the store answers
}

// AuthConfig are the settings of an Auth. Zero values, but for Secrets, are sane.
type AuthConfig struct {
	// Secrets knows sessions and API tokens; required.
	Secrets Secrets
	// Reviewer knows the tokens of pods; nil outside Kubernetes.
	Reviewer TokenReviewer
	// Grace is how long what was proven last counts on while Secrets does not
	// answer; zero for not at all.
	Grace time.Duration
	Log   *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// outage is a time in which the store does not answer.
type outage struct {
	since          time.Time
	graced, lapsed bool  // what was logged of it
	admitted       int64 // Auth.admitted when it began
}

const (
	// TokenFor is the longest that a token counts after another control plane has
	// revoked it, while the store answers.
	TokenFor = 5 * time.Second
	// DefaultGrace is how long what was proven counts on while the store does not
	// answer, unless another time is chosen.
	DefaultGrace = 15 * time.Minute
	// MaxGrace is the longest that may be chosen.
	MaxGrace = 24 * time.Hour
	// AskWithin is how long the store has to answer.
	AskWithin = 2 * time.Second
	// askAgainWithin is how long it has while it is away and somebody can be let in
	// without it.
	askAgainWithin = 500 * time.Millisecond
)

// NewAuth returns an Authenticator.
func NewAuth(cfg AuthConfig) *Auth {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Auth{cfg: cfg, proven: newProven(mostProven)}
	if cfg.Reviewer != nil {
		a.reviewer = NewReviews(cfg.Reviewer, cfg.Now)
	}
	return a
}

// Authenticate implements Authenticator.
func (a *Auth) Authenticate(ctx context.Context, c Credentials) (Principal, error) {
	switch {
	case strings.HasPrefix(c.Bearer, TokenPrefix):
		return a.byToken(ctx, c)
	case c.Bearer != "" && a.reviewer != nil:
		i, err := a.reviewer.Review(ctx, c.Bearer)
		if err != nil {
			return Principal{}, err
		}
		return i.Principal(), nil
	case c.Bearer != "":
		return Principal{}, &DeniedError{Unknown: true, Message: "the token is no API token of Weir, and there is no cluster here that knows others"}
	case c.Session != "":
		return a.bySession(ctx, c)
	}
	return Principal{}, &DeniedError{Unknown: true, Message: "nobody is logged in: log in, or send an API token as Authorization: Bearer"}
}

func (a *Auth) bySession(ctx context.Context, c Credentials) (Principal, error) {
	find := a.cfg.Secrets.Session
	if c.Unattended {
		find = a.cfg.Secrets.LookAtSession
	}
	p := proof{key: sessionKey(c.Session)}
	return a.prove(ctx, c, p, "the session has ended: log in again", func(ctx context.Context, p *proof) error {
		s, err := find(ctx, []byte(p.key.hash))
		p.principal, p.expires = s.Account.Principal(), s.Expires
		return err
	})
}

func sessionKey(secret string) proofKey { return proofKey{KindUser, string(HashSecret(secret))} }

func (a *Auth) byToken(ctx context.Context, c Credentials) (Principal, error) {
	p := proof{key: proofKey{KindToken, string(HashSecret(c.Bearer))}}
	if held := a.proven.of(p.key); held.counts(a.cfg.Now(), TokenFor) {
		return held.principal, nil
	}
	return a.prove(ctx, c, p, "the API token is not known: it was revoked, has expired, is of another installation, or the account that made it is disabled", func(ctx context.Context, p *proof) error {
		t, err := a.cfg.Secrets.TokenOf(ctx, []byte(p.key.hash))
		p.principal, p.expires = t.Principal(), t.Expires
		return err
	})
}

// prove asks the store about a credential. Where it does not answer, what it said
// last counts for a while.
func (a *Auth) prove(ctx context.Context, c Credentials, p proof, refusal string, find func(context.Context, *proof) error) (Principal, error) {
	p.asked = a.cfg.Now()
	held, patience := a.proven.of(p.key), AskWithin
	graced := c.Reads && held.counts(p.asked, a.cfg.Grace)
	if graced && a.AwaySince() != (time.Time{}) {
		patience = askAgainWithin
	}
	answered := a.proven.ask(p.key)
	within, cancel := context.WithTimeout(ctx, patience)
	err := find(within, &p)
	cancel()
	switch code := CodeOf(err); {
	case err == nil:
		answered(&p, false)
		a.heard(ctx)
		return p.principal, nil
	case code == NotFound:
		answered(nil, true)
		a.heard(ctx)
		return Principal{}, &DeniedError{Unknown: true, Message: refusal}
	case code != Unavailable || ctx.Err() != nil:
		answered(nil, false) // the one who asks went away, or it is nobody's absence
		return Principal{}, err
	}
	answered(nil, false)
	a.unheard(ctx, p.asked, graced)
	switch {
	case graced:
		return held.principal, nil
	case !c.Reads:
		return Principal{}, NothingDone(err)
	}
	return Principal{}, err
}

// heard notes that the store answers.
func (a *Auth) heard(ctx context.Context) {
	a.mu.Lock()
	was := a.away
	a.away = nil
	a.mu.Unlock()
	if was != nil && (was.graced || was.lapsed) {
		a.cfg.Log.InfoContext(ctx, "the database of accounts answers again: what was proven before counts by itself no more",
			"after", a.cfg.Now().Sub(was.since), "admitted", a.admitted.Load()-was.admitted)
	}
}

// unheard notes that the store did not answer, and whether somebody is let in all
// the same.
func (a *Auth) unheard(ctx context.Context, now time.Time, graced bool) {
	a.mu.Lock()
	if a.away == nil {
		a.away = &outage{since: now, admitted: a.admitted.Load()}
	}
	begins := graced && !a.away.graced
	a.away.graced = a.away.graced || graced
	lapses := !graced && !a.away.lapsed && a.cfg.Grace > 0 && now.Sub(a.away.since) >= a.cfg.Grace
	a.away.lapsed = a.away.lapsed || lapses
	since := a.away.since
	a.mu.Unlock()
	if graced {
		a.admitted.Add(1)
	}
	if begins {
		a.cfg.Log.WarnContext(ctx, "the database of accounts does not answer: sessions and tokens that it proved of late count on for reading",
			"since", since, "for_at_most", a.cfg.Grace)
	}
	if lapses {
		a.cfg.Log.WarnContext(ctx, "the database of accounts does not answer for so long that nothing that it proved counts any more", "since", since)
	}
}

// AwaySince is when the store was first found not to answer; zero while it does, as
// far as the last one who asked it knows.
func (a *Auth) AwaySince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away == nil {
		return time.Time{}
	}
	return a.away.since
}

// Admitted counts requests that were let in by what was proven before, since the
// store did not answer.
func (a *Auth) Admitted() int64 { return a.admitted.Load() }

// Forget makes all that was proven be proven again: call it when something changed
// here that credentials prove. Whoever asks the store just now is not remembered.
func (a *Auth) Forget() { a.proven.forgetAll() }

// ForgetSession is Forget of one session, by its secret.
func (a *Auth) ForgetSession(secret string) { a.proven.forget(sessionKey(secret)) }
