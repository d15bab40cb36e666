package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weirmesh/weir/registry"
)

// ClusterRoles of deploy/rbac.
const (
	roleConsumer = "weir-consumer"
	roleProvider = "weir-provider"
)

const rbacDoc = "(docs/registry.md#rbac)"

// attempt is what was tried, for the sentence about its failure.
type attempt struct {
	verb      string
	resource  *resource
	namespace string
	name      string
	role      string // the ClusterRole that allows it
	self      bool   // the object is the pod that this process runs in
}

func (a attempt) String() string {
	s := a.verb + " " + a.resource.name
	if a.name != "" {
		s += " " + a.name
	}
	if a.namespace == "" {
		return s + " in all namespaces"
	}
	return s + " in namespace " + a.namespace
}

var (
	userPattern   = regexp.MustCompile(`User "([^"]*)"`)
	webhookDenial = regexp.MustCompile(`admission webhook "([^"]*)" denied the request(.*)$`)
	denialPattern = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']*)'.* denied request: (.*)$`)
)

// explain turns what client-go returned into a sentence for the user.
func (c *client) explain(err error, a attempt) *registry.Error {
	var known *registry.Error
	if err == nil {
		return nil
	}
	old := explainDefinition(err, a)
	switch {
	case old != nil:
		return old
	case errors.As(err, &known):
		return known
	case apierrors.IsForbidden(err):
		return explainForbidden(err, a)
	case apierrors.IsUnauthorized(err):
		return &registry.Error{
			Code:    registry.Forbidden,
			Message: fmt.Sprintf("the API server at %s does not accept the credentials of %s", c.host, c.origin),
			Fix:     "name the kubeconfig that belongs to this cluster, or renew it",
		}
	case apierrors.IsNotFound(err) && !namesObject(err):
		// Not the object is missing, but all of its kind.
		if a.resource.version == groupVersion {
			return &registry.Error{
				Code:    registry.Unavailable,
				Message: "the cluster does not know " + a.resource.full(),
				Fix:     "install Weir's custom resource definitions (deploy/crds)",
			}
		}
		return &registry.Error{
			Code:    registry.Unavailable,
			Message: fmt.Sprintf("what answers at %s does not serve %s; it may not be a Kubernetes API server", c.host, a.resource.full()),
			Fix:     "check the server in " + c.origin,
		}
	case apierrors.IsNotFound(err):
		return &registry.Error{Code: registry.NotFound, Message: fmt.Sprintf("there is no %s/%s in namespace %s", a.resource.full(), a.name, a.namespace)}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return &registry.Error{Code: registry.Invalid, Message: "the API server refuses to " + a.String(), Err: err}
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return &registry.Error{Code: registry.Conflict, Message: "cannot " + a.String(), Err: err}
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := registry.Unavailable
		if s := status.Status().Code; s >= 400 && s < 500 && s != http.StatusTooManyRequests && s != http.StatusRequestTimeout {
			code = registry.Internal
		}
		return &registry.Error{Code: code, Message: fmt.Sprintf("the API server at %s fails to %s", c.host, a), Err: err}
	}
	return c.explainLink(err)
}

// namesObject tells the absence of an object from that of its kind.
func namesObject(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Name != ""
}

// explainLink is for errors below HTTP: no answer came.
func (c *client) explainLink(err error) *registry.Error {
	var (
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		dns         *net.DNSError
	)
	e := &registry.Error{Code: registry.Unavailable, Err: innermost(err)}
	switch {
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &certificate):
		e.Message = fmt.Sprintf("the certificate of the API server at %s is not what %s expects", c.host, c.origin)
		e.Fix = "name the kubeconfig that belongs to this cluster"
	case errors.As(err, &record):
		e.Message = fmt.Sprintf("what answers at %s does not speak TLS", c.host)
		e.Fix = "check the server in " + c.origin
	case errors.As(err, &dns):
		e.Message = fmt.Sprintf("the name of the API server, %s, cannot be resolved", dns.Name)
		e.Fix = "check the server in " + c.origin
	default:
		e.Message = "cannot reach the Kubernetes API server at " + c.host
		e.Fix = fmt.Sprintf("check that it runs and that %s names it", c.origin)
	}
	return e
}

// innermost drops the layers that repeat the URL of the request.
func innermost(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func explainForbidden(err error, a attempt) *registry.Error {
	text := err.Error()
	if m := denialPattern.FindStringSubmatch(text); m != nil {
		return &registry.Error{
			Code:    registry.Forbidden,
			Message: fmt.Sprintf("admission policy %s does not let this process %s: %s", m[1], a, m[2]),
			Fix:     "see docs/registry.md#rbac",
		}
	}
	if m := webhookDenial.FindStringSubmatch(text); m != nil {
		return &registry.Error{
			Code:    registry.Forbidden,
			Message: fmt.Sprintf("admission webhook %s does not let this process %s%s", m[1], a, strings.TrimSuffix(m[2], ".")),
			Fix:     "ask who runs that webhook in the cluster",
		}
	}
	if a.self {
		return explainSelf(text, a)
	}
	e := &registry.Error{Code: registry.Forbidden, Message: "this process may not " + a.String(), Fix: "bind ClusterRole " + a.role + " to it " + rbacDoc}
	if m := userPattern.FindStringSubmatch(text); m != nil {
		e.Message = who(m[1]) + " may not " + a.String()
	} else {
		e.Err = err
	}
	if a.namespace == "" {
		e.Fix = "bind ClusterRole " + a.role + " to it by a ClusterRoleBinding, or name the namespaces to watch " + rbacDoc
	}
	return e
}

// explainSelf is for a pod that may not describe itself.
func explainSelf(text string, a attempt) *registry.Error {
	account, what := "the pod's ServiceAccount", "patch its own annotation"
	if m := userPattern.FindStringSubmatch(text); m != nil {
		account = who(m[1])
	}
	if a.verb == "get" {
		what = "read its own labels"
	}
	return &registry.Error{
		Code:    registry.Forbidden,
		Message: fmt.Sprintf("pod %s/%s has no permission to %s", a.namespace, a.name, what),
		Fix:     fmt.Sprintf("bind ClusterRole %s to %s %s", a.role, account, rbacDoc),
	}
}

// who names a user as people know it.
func who(user string) string {
	if rest, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		return "ServiceAccount " + strings.Replace(rest, ":", "/", 1)
	}
	if user == "system:anonymous" {
		return "a request without credentials"
	}
	return fmt.Sprintf("user %q", user)
}

// unknown is the error of a question that nothing could answer before ctx
// ended. why is what stands in the way, as far as known.
func (h *Hub) unknown(ctx context.Context, what string, why *registry.Error) error {
	if why == nil {
		return &registry.Error{
			Code:    registry.Unavailable,
			Message: fmt.Sprintf("nothing is known yet of %s: the API server at %s has not answered yet", what, h.client.host),
			Err:     context.Cause(ctx),
			Fix:     fmt.Sprintf("check that it can be reached from here and that %s names it, or wait longer", h.client.origin),
		}
	}
	message := why.Message
	return &registry.Error{
		Code:    registry.Unavailable,
		Message: "nothing is known yet of " + what + ": " + message,
		Err:     why.Err,
		Fix:     why.Fix,
	}
}

func errClosed() error {
	return &registry.Error{Code: registry.Unavailable, Message: "the hub is closed"}
}
