package access_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmesh/weir/internal/access"
)

// vault knows who secrets belong to, until it is away.
type vault struct {
	mu      sync.Mutex
	expires time.Time // of all
	err     error
	hold    chan struct{} // answers wait for it to be closed; nil for none
	within  time.Duration // that the last one who asked left it
}

func (v *vault) ask(ctx context.Context) (time.Time, error) {
	v.mu.Lock()
	expires, err, hold := v.expires, v.err, v.hold
	if until, ok := ctx.Deadline(); ok {
		v.within = time.Until(until)
	}
	v.mu.Unlock()
	if hold == nil {
		return expires, err
	}
	select {
	case <-hold:
		return expires, err
	case <-ctx.Done():
		return expires, &access.Error{Code: access.Unavailable, Err: ctx.Err()}
	}
}

func (v *vault) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *vault) Session(ctx context.Context, _ []byte) (access.Session, error) {
	expires, err := v.ask(ctx)
	return access.Session{Account: access.Account{Name: "mei", Role: access.Operator}, Expires: expires}, err
}

func (v *vault) LookAtSession(ctx context.Context, hash []byte) (access.Session, error) {
	return v.Session(ctx, hash)
}

func (v *vault) TokenOf(ctx context.Context, _ []byte) (access.Token, error) {
	expires, err := v.ask(ctx)
	return access.Token{Name: "ci", Kind: access.KindToken, Role: access.Viewer, Expires: expires}, err
}

var (
	errAway    = &access.Error{Code: access.Unavailable, Message: "the database does not answer"}
	errRefused = &access.Error{Code: access.NotFound}
)

// gate is an Auth on a vault.
type gate struct {
	*vault
	auth *access.Auth
	log  bytes.Buffer
}

func newGate(grace time.Duration) *gate {
	g := &gate{vault: &vault{expires: time.Now().Add(100 * time.Hour)}}
	g.auth = access.NewAuth(access.AuthConfig{Secrets: g.vault, Grace: grace, Log: slog.New(slog.NewTextHandler(&g.log, nil))})
	return g
}

func session(secret string) access.Credentials {
	return access.Credentials{Session: secret, Reads: true}
}

func token(secret string) access.Credentials {
	return access.Credentials{Bearer: access.TokenPrefix + secret, Reads: true}
}

// who is the one that credentials prove, or why they prove nobody.
func (g *gate) who(t *testing.T, c access.Credentials) string {
	t.Helper()
	p, err := g.auth.Authenticate(t.Context(), c)
	var denied *access.DeniedError
	switch {
	case err == nil:
		return p.String()
	case errors.As(err, &denied) && denied.Unknown:
		return "nobody"
	}
	return string(access.CodeOf(err))
}

func (g *gate) want(t *testing.T, when, want string, c access.Credentials) {
	t.Helper()
	if got := g.who(t, c); got != want {
		t.Errorf("%s it is %s, want %s", when, got, want)
	}
}

func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the bubble's clock

func TestWhatWasProvenCountsWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		g.want(t, "at first", "user:mei", session("a"))
		g.want(t, "at first", "token:ci", token("a"))
		g.err = errAway
		pass(14 * time.Minute)
		for range 3 { // which does not make it longer
			g.want(t, "within the grace", "user:mei", session("a"))
			g.want(t, "within the grace", "token:ci", token("a"))
		}
		// Who was never here is not let in, nor the one secret in place of the other.
		g.want(t, "never proven", "unavailable", session("b"))
		g.want(t, "never proven", "unavailable", token("b"))
		g.want(t, "a token as a session", "unavailable", session(access.TokenPrefix+"a"))
		// Nothing is written.
		for _, c := range []access.Credentials{session("a"), token("a")} {
			c.Reads = false
			_, err := g.auth.Authenticate(t.Context(), c)
			if access.CodeOf(err) != access.Unavailable || !strings.Contains(err.Error(), "nothing was done: the database does not answer") {
				t.Errorf("a write: %v", err)
			}
		}
		pass(time.Minute)
		g.want(t, "after the grace", "unavailable", session("a"))
		g.want(t, "after the grace", "unavailable", token("a"))
		g.err = nil
		g.want(t, "back again", "user:mei", session("a"))
		g.err = errAway
		g.want(t, "proven anew", "user:mei", session("a"))
	})
}

func TestNoGraceWhereNoneIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(0)
		g.want(t, "at first", "user:mei", session("a"))
		g.err = errAway
		g.want(t, "at once", "unavailable", session("a"))
	})
}

func TestGraceEndsWithTheCredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		g.expires = time.Now().Add(time.Minute)
		g.want(t, "at first", "user:mei", session("a"))
		g.want(t, "at first", "token:ci", token("a"))
		g.err = errAway
		pass(time.Minute - time.Nanosecond)
		g.want(t, "as long as it lives", "user:mei", session("a"))
		g.want(t, "as long as it lives", "token:ci", token("a"))
		pass(time.Nanosecond)
		g.want(t, "expired", "unavailable", session("a"))
		g.want(t, "expired", "unavailable", token("a"))
	})
}

func TestARefusalEndsTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []access.Credentials{session("a"), token("a")} {
			g := newGate(15 * time.Minute)
			g.who(t, c)
			pass(access.TokenFor)
			g.err = errAway
			g.want(t, "while it is away", map[bool]string{true: "token:ci", false: "user:mei"}[c.Bearer != ""], c)
			g.err = errRefused
			g.want(t, "back again", "nobody", c)
			g.err = errAway
			g.want(t, "away again", "unavailable", c)
		}
	})
}

func TestForgettingEndsTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		prove := func() {
			g.err = nil
			for _, c := range []access.Credentials{session("a"), session("b"), token("a")} {
				g.who(t, c)
			}
			g.err = errAway
		}
		prove()
		g.auth.ForgetSession("a")
		g.want(t, "logged out", "unavailable", session("a"))
		g.want(t, "another", "user:mei", session("b"))
		prove()
		g.auth.Forget()
		for _, c := range []access.Credentials{session("a"), session("b"), token("a")} {
			g.want(t, "forgotten", "unavailable", c)
		}
	})
}

// What was on its way when the store refused it, or when it was forgotten, is not
// remembered by it.
func TestALateAnswerBringsNothingBack(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *gate){
		"forgotten":  func(_ *testing.T, g *gate) { g.auth.Forget() },
		"logged out": func(_ *testing.T, g *gate) { g.auth.ForgetSession("a") },
		"refused": func(t *testing.T, g *gate) {
			g.set(func() { g.hold, g.err = nil, errRefused })
			g.want(t, "meanwhile", "nobody", session("a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGate(15 * time.Minute)
				hold := make(chan struct{})
				g.hold = hold
				var first sync.WaitGroup
				first.Go(func() { g.want(t, "asked before", "user:mei", session("a")) })
				synctest.Wait()
				end(t, g)
				close(hold)
				first.Wait()
				g.set(func() { g.hold, g.err = nil, errAway })
				g.want(t, "away", "unavailable", session("a"))
			})
		})
	}
}

func TestTheOldestProofMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		g.who(t, session("first"))
		g.who(t, session("second"))
		pass(time.Second)
		g.who(t, session("first")) // again: second is the oldest now
		for i := range access.MostProven - 1 {
			g.who(t, session(fmt.Sprint(i)))
		}
		g.err = errAway
		g.want(t, "the oldest", "unavailable", session("second"))
		g.want(t, "another", "user:mei", session("first"))
		g.want(t, "the newest", "user:mei", session(fmt.Sprint(access.MostProven-2)))
	})
}

func TestAStoreThatHangsIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		g.who(t, session("a"))
		g.hold = make(chan struct{}) // for ever
		g.want(t, "the first", "user:mei", session("a"))
		if g.within != access.AskWithin {
			t.Errorf("it was given %s", g.within)
		}
		g.want(t, "the next", "user:mei", session("a"))
		if g.within >= access.AskWithin {
			t.Errorf("though it is known to be away, it was given %s", g.within)
		}
		g.want(t, "never proven", "unavailable", session("b"))
		// One who goes away says nothing of the store.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		calm := newGate(15 * time.Minute)
		calm.who(t, session("a"))
		calm.hold = make(chan struct{})
		if _, err := calm.auth.Authenticate(ctx, session("a")); err == nil || !calm.auth.AwaySince().IsZero() {
			t.Errorf("%v, away since %s", err, calm.auth.AwaySince())
		}
	})
}

func TestGraceIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(15 * time.Minute)
		g.who(t, session("a"))
		g.err = errAway
		g.who(t, session("never proven"))
		if log := g.log.String(); log != "" {
			t.Errorf("nobody was let in, and it says %s", log)
		}
		pass(time.Minute)
		for range 3 {
			g.who(t, session("a"))
		}
		pass(15 * time.Minute)
		for range 3 {
			g.who(t, session("a"))
		}
		g.err = nil
		for range 3 {
			g.who(t, session("a"))
		}
		lines := strings.Split(strings.TrimSpace(g.log.String()), "\n")
		if len(lines) != 3 {
			t.Fatalf("got %d lines:\n%s", len(lines), g.log.String())
		}
		for i, want := range []string{"count on for reading", "nothing that it proved counts any more", "answers again"} {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%q is not in %s", want, lines[i])
			}
		}
		if !strings.Contains(lines[2], "admitted=3") || g.auth.Admitted() != 3 {
			t.Errorf("%d were let in: %s", g.auth.Admitted(), lines[2])
		}
	})
}
