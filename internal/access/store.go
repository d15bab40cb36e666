package access

import (
	"context"
	"regexp"
	"slices"
	"time"
)

// Token is an API token, without its secret.
type Token struct {
	Name string `json:"name" doc:"What it is called."`
	// Kind is KindToken, or KindInstance for a static token of instances outside
	// Kubernetes, which has no role.
	Kind       Kind      `json:"kind" doc:"token, or instance for running services outside Kubernetes, which has no role."`
	Role       Role      `json:"role,omitempty" doc:"What it may do."`
	Namespaces []string  `json:"namespaces,omitempty" doc:"Those that bound it; missing for all."`
	Created    time.Time `json:"created" doc:"When it was made."`
	CreatedBy  string    `json:"createdBy" doc:"Who made it."`
	// Owner is the account that made it, or whose token made it; empty for none.
	Owner string `json:"owner,omitempty" doc:"The account that made it, or whose token made it; it counts only while that account does. Missing for one that belongs to the installation."`
	// Suspended says that the owner is disabled, so that the token does not count.
	Suspended bool `json:"suspended,omitempty" doc:"Its owner is disabled, so that it does not count until the owner is enabled."`
	// Expires is zero for a token that does not.
	Expires time.Time `json:"expires,omitzero" doc:"Missing for one that does not."`
	// LastUsed is right to some minutes; zero for never.
	LastUsed time.Time `json:"lastUsed,omitzero" doc:"Right to some minutes; missing for never."`
}

// Principal is who acts by the token.
func (t Token) Principal() Principal {
	p := Principal{Kind: t.Kind, Name: t.Name, Role: t.Role, Namespaces: t.Namespaces}
	if t.Kind == KindInstance {
		p.Role = ""
		p.Instance = &Instance{}
		if len(t.Namespaces) == 1 {
			p.Instance.Namespace = t.Namespaces[0]
		}
	}
	return p
}

var (
	namePattern      = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._]{0,61}[a-z0-9])?$`)
	namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
)

const maxNamespaces = 100

func invalid(field, message, fix string) error {
	return &Error{Code: Invalid, Field: field, Message: message, Fix: fix}
}

// Validate checks what was asked of a new token.
func (t Token) Validate(now time.Time) error {
	if !namePattern.MatchString(t.Name) {
		return invalid("name", "a token's name is 1 to 63 lower-case letters, digits, dots, dashes and underscores", "choose one such as deploy-ci")
	}
	switch t.Kind {
	case KindToken:
		if !t.Role.Valid() {
			return invalid("role", "a token needs a role", "choose viewer, operator or admin")
		}
	case KindInstance:
		if t.Role != "" {
			return invalid("role", "a token of instances has no role", "leave it out")
		}
	default:
		return invalid("kind", "there are tokens of kind token and serviceaccount", "leave it out for a token with a role")
	}
	if err := validateNamespaces(t.Namespaces); err != nil {
		return err
	}
	if !t.Expires.IsZero() && !t.Expires.After(now) {
		return invalid("expires", "it has passed already", "choose a later time, or leave it out for a token that does not expire")
	}
	return nil
}

func validateNamespaces(namespaces []string) error {
	if len(namespaces) > maxNamespaces {
		return invalid("namespaces", "there are more than 100 namespaces", "name none to allow all")
	}
	for _, ns := range namespaces {
		if !namespacePattern.MatchString(ns) {
			return invalid("namespaces", "\""+ns+"\" is no name of a namespace", "name namespaces such as shop, or none to allow all")
		}
	}
	return nil
}

// Within are the bounds that both sets of namespaces allow: what one who is
// bounded may give to another. ok is false if that is nothing.
func Within(giver, wanted []string) (ok bool) {
	if len(giver) == 0 {
		return true
	}
	return len(wanted) > 0 && !slices.ContainsFunc(wanted, func(ns string) bool { return !slices.Contains(giver, ns) })
}

// Secrets looks up who a secret belongs to. Implementations are safe for
// concurrent use.
type Secrets interface {
	// Session returns a session that lives, and lets it live on from now. Errors:
	// NotFound for none, also for one that ended; Unavailable.
	Session(ctx context.Context, hash []byte) (Session, error)

	// LookAtSession is Session, but lets it live on no longer.
	LookAtSession(ctx context.Context, hash []byte) (Session, error)

	// TokenOf returns the token with a hash, and notes that it was used. Errors:
	// NotFound for none, also for one revoked or expired, and for one whose owner is
	// disabled; Unavailable.
	TokenOf(ctx context.Context, hash []byte) (Token, error)
}

// Session is a login that lives.
type Session struct {
	Account Account
	Expires time.Time // when it ends unless it is used before
}

// AuditQuery narrows a range of the audit.
type AuditQuery struct {
	From, To  time.Time // From included, To not; zero for a day ago, and now
	Principal string    // "user:admin"; empty for any
	Action    string    // empty for any
	Object    string    // that begins with it; empty for any
	Before    int64     // only entries with a lower id, to read on; 0 for none
	Limit     int       // 1 to 1,000; 0 for 100
}

// MaxAudit is the most entries that one query gives.
const MaxAudit = 1000

// WithDefaults fills in what is not said, and checks the rest.
func (q AuditQuery) WithDefaults(now time.Time) (AuditQuery, error) {
	if q.To.IsZero() {
		q.To = now.Add(time.Minute) // the database's clock may be ahead
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-24 * time.Hour)
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	switch {
	case q.Limit < 1 || q.Limit > MaxAudit:
		return q, invalid("limit", "it takes 1 to 1000", "")
	case !q.From.Before(q.To):
		return q, invalid("from", "the range ends before it begins", "choose from before to")
	case q.Before < 0:
		return q, invalid("before", "it takes the id of an entry", "")
	}
	return q, nil
}
