package access_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRolesAndNamespaces(t *testing.T) {
	all := access.Principal{Kind: access.KindUser, Name: "a", Role: access.Operator}
	shop := access.Principal{Kind: access.KindToken, Name: "b", Role: access.Operator, Namespaces: []string{"shop"}}
	pod := access.Instance{Namespace: "shop", ServiceAccount: "orders"}.Principal()
	for _, c := range []struct {
		who  access.Principal
		role access.Role
		in   string
		want bool
	}{
		{all, access.Viewer, "", true}, {all, access.Operator, "shop", true}, {all, access.Admin, "shop", false},
		{shop, access.Operator, "shop", true}, {shop, access.Operator, "bank", false}, {shop, access.Viewer, "", false},
		{pod, access.Viewer, "shop", false}, {access.Principal{}, access.Viewer, "", false},
		{access.Principal{Role: "root"}, access.Viewer, "", false},
	} {
		if got := c.who.Can(c.role, c.in); got != c.want {
			t.Errorf("%s as %s in %q: %t", c.who, c.role, c.in, got)
		}
		err := access.Require(access.With(t.Context(), c.who), c.role, c.in)
		if (err == nil) != c.want {
			t.Errorf("%s as %s in %q: %v", c.who, c.role, c.in, err)
		}
	}
	var d *access.DeniedError
	if err := access.Require(t.Context(), access.Viewer, ""); !errors.As(err, &d) || !d.Unknown {
		t.Errorf("got %v", err)
	}
	if err := access.RequireInstance(access.With(t.Context(), pod), "shop"); err != nil {
		t.Error(err)
	}
	for ns, who := range map[string]access.Principal{"bank": pod, "": pod, "shop": {Kind: access.KindInstance}} {
		if err := access.RequireInstance(access.With(t.Context(), who), ns); !errors.As(err, &d) || d.Unknown {
			t.Errorf("%s in %q: %v", who, ns, err)
		}
	}
}

func TestPasswords(t *testing.T) {
	p := access.NewPasswords(1)
	ctx := t.Context()
	one, err := p.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if two, err := p.Hash(ctx, "correct horse"); err != nil || two == one {
		t.Errorf("two hashes are the same: %s, %v", two, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct hors": false, "": false} {
		if ok, err := p.Check(ctx, password, one); err != nil || ok != want {
			t.Errorf("%q: %t, %v", password, ok, err)
		}
	}
	if ok, err := p.Check(ctx, "", ""); err != nil || ok {
		t.Errorf("no hash: %t, %v", ok, err)
	}
	if a, b := p.Random(), p.Random(); a == b || len(a) != 23 {
		t.Errorf("random: %s, %s", a, b)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := access.NewPasswords(1).Check(gone, "x", "y"); err == nil {
		// It may have had its turn at once; then the hash is refused.
		t.Error("a hash that is none was taken")
	}
}

func FuzzStoredHash(f *testing.F) {
	for _, seed := range []string{
		"", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2i$v=19$m=8,t=1,p=1$a$b", "$argon2id$v=19$m=8,t=0,p=0$c2FsdHNhbHQ$AA", "$$$$$", "$argon2id$v=18$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
	} {
		f.Add(seed)
	}
	p := access.NewPasswords(1)
	f.Fuzz(func(t *testing.T, hash string) {
		// No row makes it panic, or be anybody's password.
		if ok, _ := p.Check(t.Context(), "a password nobody has", hash); ok {
			t.Errorf("%q is matched", hash)
		}
	})
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(3, 10*time.Second, 4, nil)
		for range 3 {
			if _, ok := l.Take("a"); !ok {
				t.Fatal("refused at once")
			}
		}
		if wait, ok := l.Take("a"); ok || wait != 10*time.Second {
			t.Errorf("%s, %t", wait, ok)
		}
		if _, ok := l.Take("b"); !ok {
			t.Error("another key is refused")
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // the bubble's clock, which is what is tested
		if _, ok := l.Take("a"); !ok {
			t.Error("refused after a while")
		}
		if _, ok := l.Take("a"); ok {
			t.Error("taken twice")
		}
		l.Forget("a")
		if _, ok := l.Take("a"); !ok {
			t.Error("refused after it was forgotten")
		}
		// A crowd of keys does not give a bad one its tries back.
		for range 3 {
			l.Take("bad")
		}
		for i := range 100 {
			l.Take(fmt.Sprint("crowd", i))
		}
		if _, ok := l.Take("bad"); ok {
			t.Error("the crowd washed it away")
		}
	})
}

// cluster is a reviewer that counts.
type cluster struct {
	mu    sync.Mutex
	asked int
	err   error
	hold  chan struct{} // closed to let answers go; nil at once
}

func (c *cluster) Review(ctx context.Context, token string) (access.Instance, error) {
	c.mu.Lock()
	c.asked++
	err, hold := c.err, c.hold
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return access.Instance{}, ctx.Err()
		}
	}
	return access.Instance{Namespace: "shop", ServiceAccount: "orders", PodUID: token[len(token)-1:]}, err
}

// jwt is a token of a ServiceAccount with a signature that nobody checks here.
func jwt(subject string, expires int64, signature string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256"}`)) + "." + enc(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, subject, expires)) + "." + signature
}

func TestReviewsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{}
		r := access.NewReviews(c, nil)
		token := jwt("system:serviceaccount:shop:orders", 0, "a")
		review := func(token string, want int) error {
			t.Helper()
			_, err := r.Review(t.Context(), token)
			if c.asked != want {
				t.Errorf("the cluster was asked %d times, want %d", c.asked, want)
			}
			return err
		}
		for range 3 {
			if err := review(token, 1); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(access.ReviewFor) //nolint:forbidigo // the bubble's clock
		review(token, 2)
		// Not longer than the token itself lives.
		short := jwt("system:serviceaccount:shop:orders", time.Now().Add(20*time.Second).Unix(), "b")
		review(short, 3)
		time.Sleep(20 * time.Second) //nolint:forbidigo // the bubble's clock
		if err := review(short, 3); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("got %v", err)
		}
		// What cannot be one is not asked about.
		for _, odd := range []string{"", "abc", "a.b.c", jwt("user", 0, "a"), strings.Repeat("x", 1<<20), "..", "e30.e30.e30"} {
			var d *access.DeniedError
			if err := review(odd, 3); !errors.As(err, &d) || !d.Unknown {
				t.Errorf("%.20q: %v", odd, err)
			}
		}
		// A denial is remembered for a while, a failure is not.
		other := jwt("system:serviceaccount:shop:orders", 0, "c")
		c.err = &access.DeniedError{Unknown: true, Message: "no"}
		review(other, 4)
		review(other, 4)
		time.Sleep(access.DenyFor) //nolint:forbidigo // the bubble's clock
		c.err = &access.Error{Code: access.Unavailable}
		review(other, 5)
		review(other, 6)
	})
}

func TestReviewsAskOnceForThoseWhoComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{hold: make(chan struct{})}
		r := access.NewReviews(c, nil)
		token := jwt("system:serviceaccount:shop:orders", 0, "a")
		first, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := r.Review(first, token); !errors.Is(err, context.Canceled) {
				t.Errorf("the first got %v", err)
			}
		})
		synctest.Wait()
		for range 9 {
			all.Go(func() {
				if _, err := r.Review(t.Context(), token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if c.asked != 1 {
			t.Errorf("asked %d times", c.asked)
		}
		cancel() // the one who asked goes away; another one asks for the rest
		synctest.Wait()
		close(c.hold)
		all.Wait()
		if c.asked != 2 {
			t.Errorf("asked %d times", c.asked)
		}
	})
}

// hung answers nobody.
type hung struct{}

func (hung) Review(ctx context.Context, _ string) (access.Instance, error) {
	<-ctx.Done()
	return access.Instance{}, ctx.Err()
}

func TestAClusterThatHangsIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := access.NewReviews(hung{}, nil)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := r.Review(t.Context(), jwt("system:serviceaccount:shop:orders", 0, "a")); access.CodeOf(err) != access.Unavailable {
					t.Errorf("got %v", err)
				}
			})
		}
		begin := time.Now()
		all.Wait()
		if took := time.Since(begin); took != access.ReviewWithin {
			t.Errorf("it took %s of the test's time", took)
		}
	})
}

func TestReviewSaysWhichInstance(t *testing.T) {
	r := access.Review{Authenticated: true, Username: "system:serviceaccount:shop:orders", Extra: map[string][]string{
		"authentication.kubernetes.io/pod-name": {"orders-1"}, "authentication.kubernetes.io/pod-uid": {"u1"},
	}}
	got, err := r.Instance()
	if want := (access.Instance{Namespace: "shop", ServiceAccount: "orders", PodName: "orders-1", PodUID: "u1"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []access.Review{
		{Username: r.Username}, {Authenticated: true, Username: "admin:a"}, {Authenticated: true, Username: "system:serviceaccount:shop"},
		{Authenticated: true, Username: "system:serviceaccount::orders"}, {Authenticated: true, Username: "shop:orders"},
	} {
		if got, err := bad.Instance(); err == nil {
			t.Errorf("%+v proves %+v", bad, got)
		}
	}
}

// secrets knows one token and one session.
type secrets struct {
	asked int
	err   error
}

func (s *secrets) Session(context.Context, []byte) (access.Session, error) {
	return access.Session{Account: access.Account{Name: "admin", Role: access.Admin}}, s.err
}

func (s *secrets) LookAtSession(ctx context.Context, hash []byte) (access.Session, error) {
	return s.Session(ctx, hash)
}

func (s *secrets) TokenOf(context.Context, []byte) (access.Token, error) {
	s.asked++
	return access.Token{Name: "ci", Kind: access.KindToken, Role: access.Viewer}, s.err
}

func TestAuthenticate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &secrets{}
		a := access.NewAuth(access.AuthConfig{Secrets: s, Reviewer: &cluster{}})
		who := func(c access.Credentials) string {
			p, err := a.Authenticate(t.Context(), c)
			if err != nil {
				var d *access.DeniedError
				if errors.As(err, &d) && d.Unknown {
					return "nobody"
				}
				return string(access.CodeOf(err))
			}
			return p.String()
		}
		token := access.Credentials{Bearer: "weir_abc"}
		pod := jwt("system:serviceaccount:shop:orders", 0, "a")
		for want, c := range map[string]access.Credentials{
			"nobody": {}, "token:ci": token, "user:admin": {Session: "x"}, "serviceaccount:shop/orders": {Bearer: pod, Session: "x"},
		} {
			if got := who(c); got != want {
				t.Errorf("%+v is %s, want %s", c, got, want)
			}
		}
		who(token)
		if s.asked != 1 {
			t.Errorf("the store was asked %d times", s.asked)
		}
		s.err = &access.Error{Code: access.NotFound}
		if got := who(token); got != "token:ci" {
			t.Errorf("within %s it is %s", access.TokenFor, got)
		}
		a.Forget()
		if got := who(token); got != "nobody" {
			t.Errorf("a revoked token is %s", got)
		}
		if got := who(access.Credentials{Session: "x"}); got != "nobody" {
			t.Errorf("an ended session is %s", got)
		}
		s.err = &access.Error{Code: access.Unavailable}
		if got := who(token) + who(access.Credentials{Session: "x"}); got != "unavailableunavailable" {
			t.Errorf("without the store: %s", got)
		}
		outside := access.NewAuth(access.AuthConfig{Secrets: s})
		if _, err := outside.Authenticate(t.Context(), access.Credentials{Bearer: pod}); err == nil {
			t.Error("a pod's token was taken without a cluster")
		}
	})
}

// The cluster is asked only about what may be a token of a ServiceAccount.
func FuzzServiceAccountToken(f *testing.F) {
	f.Add(jwt("system:serviceaccount:shop:orders", 0, "a"))
	f.Add(jwt("system:serviceaccount:shop:orders", 1<<62, "a"))
	f.Add(jwt("admin", 0, "a"))
	for _, seed := range []string{"", "..", "a.b.c", "e30.e30.e30", "e30.bnVsbA.e30", "e30.W10.e30", strings.Repeat("a.", 10_000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c := &cluster{}
		_, err := access.NewReviews(c, nil).Review(t.Context(), token)
		var d *access.DeniedError
		switch {
		case err == nil && c.asked == 1 && strings.Count(token, ".") == 2 && len(token) <= 16<<10:
		case errors.As(err, &d) && d.Unknown && c.asked == 0:
		default:
			t.Errorf("%q: asked %d times, %v", token, c.asked, err)
		}
	})
}
