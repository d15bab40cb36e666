package kube

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weirmesh/weir/registry"
)

// settling times MaxBackoff is how long a refusal is taken for a sign of the server's
// own trouble, and not for a missing right: after an absence, and from the first of
// those refusals on that such a server gives.
const settling = 5

// refusals keeps account of what tells a refusal that passes from one that is meant.
type refusals struct {
	mu sync.Mutex
	// trouble is when a request last met no server at all, or one that fails.
	trouble time.Time
	// since is when refusals that trouble explains as well began to come, without an
	// answer in between, and last when the last came.
	since, last time.Time
}

// end notes that the server has answered as it should.
func (r *refusals) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// premature tells a refusal by a server that has just come up, and has not read its
// roles yet, or that cannot ask now who this process is, from one that is meant. It
// keeps account of absences and failures.
func (h *Hub) premature(err error) bool {
	r := &h.refusals
	now, while := h.clock.now(), settling*h.cfg.MaxBackoff
	r.mu.Lock()
	defer r.mu.Unlock()
	var known *registry.Error // not of the server: what it said has been understood
	doubtful := apierrors.IsUnauthorized(err) || rolesUnread(err)
	switch {
	case err == nil:
		r.since = time.Time{}
		return false
	case errors.As(err, &known) && known.Code != registry.Unavailable:
		return false
	case !isAnswer(err), fails(err):
		r.trouble = now
		return false
	case doubtful, apierrors.IsForbidden(err) && !denialPattern.MatchString(err.Error()):
		if !r.trouble.IsZero() && now.Sub(r.trouble) < while {
			return true
		}
	}
	if !doubtful {
		return false
	}
	if r.since.IsZero() || now.Sub(r.last) >= max(while, 2*refusedFactor*h.cfg.MaxBackoff) {
		r.since = now
	}
	r.last = now
	return now.Sub(r.since) < while
}

// fails tells an answer by which the server says that it is not well.
func fails(err error) bool {
	return apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.ReasonForError(err) == "" && isStatus(err, http.StatusBadGateway)
}

func isStatus(err error, code int32) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == code
}

// unreadPattern is what the API server says of a binding whose role it does not know:
// there is none, or it has not read it yet.
var unreadPattern = regexp.MustCompile(`RBAC: .*\bnot found`)

func rolesUnread(err error) bool {
	return apierrors.IsForbidden(err) && unreadPattern.MatchString(err.Error())
}

// provisional is what is said of a refusal that may pass. It is not one to those who
// would give up for it.
func provisional(why *registry.Error) *registry.Error {
	e := *why
	e.Code = registry.Unavailable
	e.Fix = fmt.Sprintf("it is asked again, since an API server that is not well answers so, too; if that lasts, %s", why.Fix)
	return &e
}
