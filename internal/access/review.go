package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"
)

// TokenReviewer asks the cluster whose a token is. Implementations are safe for
// concurrent use.
type TokenReviewer interface {
	// Review returns the instance that a ServiceAccount's token proves. Errors: a
	// *DeniedError with Unknown for a token that proves none, an *Error with
	// Unavailable when the cluster cannot be asked.
	Review(ctx context.Context, token string) (Instance, error)
}

// How long an answer about a token is believed.
const (
	// ReviewFor is the longest that a token of a deleted pod is still taken.
	ReviewFor = time.Minute
	// DenyFor spares the cluster those who try the same wrong token again.
	DenyFor = 10 * time.Second
	// ReviewWithin is how long a cluster has to answer.
	ReviewWithin = 10 * time.Second
	// maxReviews bounds what is remembered.
	maxReviews = 50_000
)

// Reviews remembers a reviewer's answers, by the tokens' hashes, and asks once
// for those who come together with the same token.
type Reviews struct {
	reviewer TokenReviewer
	now      func() time.Time

	mu      sync.Mutex
	answers map[string]*review
}

type review struct {
	done     chan struct{} // closed once the rest holds
	until    time.Time
	instance Instance
	err      error
}

// NewReviews returns a TokenReviewer in front of another; now is the clock,
// time.Now when nil.
func NewReviews(reviewer TokenReviewer, now func() time.Time) *Reviews {
	if now == nil {
		now = time.Now
	}
	return &Reviews{reviewer: reviewer, now: now, answers: make(map[string]*review)}
}

// Review implements TokenReviewer.
func (r *Reviews) Review(ctx context.Context, token string) (Instance, error) {
	expires, err := looksLikeServiceAccount(token, r.now())
	if err != nil {
		return Instance{}, err
	}
	key := string(HashSecret(token))
	for {
		r.mu.Lock()
		a := r.answers[key]
		if a == nil || a.settled() && !r.now().Before(a.until) {
			a = &review{done: make(chan struct{})}
			r.makeRoom()
			r.answers[key] = a
			r.mu.Unlock()
			r.ask(ctx, key, token, expires, a)
			return a.instance, a.err
		}
		r.mu.Unlock()
		select {
		case <-a.done:
			if CodeOf(a.err) != Unavailable && (errors.Is(a.err, context.Canceled) || errors.Is(a.err, context.DeadlineExceeded)) {
				if ctx.Err() == nil {
					continue // the one who asked went away; ask ourselves
				}
			}
			return a.instance, a.err
		case <-ctx.Done():
			return Instance{}, context.Cause(ctx)
		}
	}
}

func (a *review) settled() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

func (r *Reviews) ask(ctx context.Context, key, token string, expires time.Time, a *review) {
	defer close(a.done)
	within, cancel := context.WithTimeout(ctx, ReviewWithin)
	defer cancel()
	a.instance, a.err = r.reviewer.Review(within, token)
	if a.err != nil && within.Err() != nil && ctx.Err() == nil {
		a.err = &Error{Code: Unavailable, Message: "the cluster does not say in time whose the token is", Fix: "try again", Err: a.err}
	}
	var denied *DeniedError
	r.mu.Lock()
	defer r.mu.Unlock()
	switch now := r.now(); {
	case a.err == nil:
		a.until = now.Add(ReviewFor)
		if !expires.IsZero() && expires.Before(a.until) {
			a.until = expires
		}
	case errors.As(a.err, &denied):
		a.until = now.Add(DenyFor)
	default: // nobody knows: ask again at once
		if r.answers[key] == a {
			delete(r.answers, key)
		}
	}
}

// makeRoom forgets what no longer counts; when that is not enough, anything.
func (r *Reviews) makeRoom() {
	if len(r.answers) < maxReviews {
		return
	}
	now := r.now()
	for key, a := range r.answers {
		if a.settled() && !now.Before(a.until) {
			delete(r.answers, key)
		}
	}
	for key, a := range r.answers {
		if len(r.answers) < maxReviews {
			return
		}
		if a.settled() {
			delete(r.answers, key)
		}
	}
}

// looksLikeServiceAccount spares the cluster what cannot be one of its tokens,
// and returns when the token says that it expires. It proves nothing.
func looksLikeServiceAccount(token string, now time.Time) (expires time.Time, err error) {
	const most = 16 << 10
	no := &DeniedError{Unknown: true, Message: "the token is neither an API token of Weir nor the token of a ServiceAccount"}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > most {
		return time.Time{}, no
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, no
	}
	var claims struct {
		Subject string  `json:"sub"`
		Expires float64 `json:"exp"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil || !strings.HasPrefix(claims.Subject, serviceAccountPrefix) {
		return time.Time{}, no
	}
	const forever = 1 << 40 // seconds; more than any clock that counts
	if claims.Expires > 0 && claims.Expires < forever {
		expires = time.Unix(int64(claims.Expires), 0)
		if !now.Before(expires) {
			return time.Time{}, &DeniedError{Unknown: true, Message: "the token of the ServiceAccount has expired: read it anew from its file"}
		}
	}
	return expires, nil
}

const serviceAccountPrefix = "system:serviceaccount:"

// Review is what a cluster says of a token, as in a TokenReview's status.
type Review struct {
	Authenticated bool
	Username      string
	Extra         map[string][]string
}

// Instance returns the instance that a review proves. Errors: a *DeniedError
// with Unknown when it proves none.
func (r Review) Instance() (Instance, error) {
	namespace, account, ok := strings.Cut(strings.TrimPrefix(r.Username, serviceAccountPrefix), ":")
	if !r.Authenticated || !ok || !strings.HasPrefix(r.Username, serviceAccountPrefix) || namespace == "" || account == "" {
		return Instance{}, &DeniedError{Unknown: true, Message: "the cluster does not take the token for that of a ServiceAccount"}
	}
	one := func(key string) string {
		if v := r.Extra["authentication.kubernetes.io/"+key]; len(v) == 1 {
			return v[0]
		}
		return ""
	}
	return Instance{Namespace: namespace, ServiceAccount: account, PodName: one("pod-name"), PodUID: one("pod-uid")}, nil
}

// Principal is who acts as an instance.
func (i Instance) Principal() Principal {
	return Principal{Kind: KindInstance, Name: i.Namespace + "/" + i.ServiceAccount, Namespaces: []string{i.Namespace}, Instance: &i}
}
