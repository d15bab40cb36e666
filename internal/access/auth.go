package access

import "context"

// Credentials are what a request shows of who sends it.
type Credentials struct {
	// Bearer is the token of the Authorization header: an API token, or the
	// token of a pod's ServiceAccount.
	Bearer string
	// Session is the value of the SessionCookie; it counts when Bearer is empty.
	Session string
	// Unattended is for what programs ask by themselves, such as a page that is
	// open: a session does not live on by it.
	Unattended bool
	// Reads is for what changes nothing: while what knows the answer is away, it is
	// enough for it that the credentials were proven of late.
	Reads bool
	// Remote is the peer's address, without its port.
	Remote string
}

// SessionCookie is the name of the cookie that holds a session.
const SessionCookie = "weir_session"

// Authenticator tells who sends a request. Implementations are safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns the principal that the credentials prove. Errors: a
	// *DeniedError with Unknown when they prove nobody (missing, wrong, expired,
	// revoked), an *Error with Unavailable when that cannot be found out now.
	Authenticate(ctx context.Context, c Credentials) (Principal, error)
}

// RequireInstance returns a *DeniedError unless the one who acts in ctx may
// speak for instances of applications in a namespace: an instance of that
// namespace itself, or an operator there.
func RequireInstance(ctx context.Context, namespace string) error {
	p, ok := From(ctx)
	if !ok || p.Kind != KindInstance {
		return Require(ctx, Operator, namespace)
	}
	if p.SpeaksFor(namespace) {
		return nil
	}
	return &DeniedError{Message: p.String() + " may not speak for an application of namespace " + namespace +
		": an instance reports only about applications of its own namespace"}
}

// SpeaksFor reports whether an instance belongs to a namespace: by its pod, or
// by a static token made for it.
func (p Principal) SpeaksFor(namespace string) bool {
	if p.Kind != KindInstance || p.Instance == nil || namespace == "" {
		return false
	}
	if p.Instance.Namespace != "" {
		return p.Instance.Namespace == namespace
	}
	return p.within(namespace)
}
