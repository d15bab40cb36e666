package cluster

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/internal/access"
)

// Reviewer asks a cluster whose a token is, by TokenReview, which needs the
// ClusterRole weir-control.
type Reviewer struct {
	client authenticationclient.TokenReviewInterface
	target *Target
}

var _ access.TokenReviewer = (*Reviewer)(nil)

// NewReviewer returns a Reviewer for a cluster.
func NewReviewer(t *Target) (*Reviewer, error) {
	c := rest.CopyConfig(t.REST)
	// After a restart all instances come back at once, each with its own token.
	c.QPS, c.Burst = 200, 400
	c.UserAgent = "weir"
	client, err := authenticationclient.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be used: %w; name another kubeconfig with --kubeconfig", t.Origin, err)
	}
	return &Reviewer{client: client.TokenReviews(), target: t}, nil
}

// Review implements access.TokenReviewer.
func (r *Reviewer) Review(ctx context.Context, token string) (access.Instance, error) {
	answer, err := r.client.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		if ctx.Err() != nil {
			return access.Instance{}, ctx.Err()
		}
		fix := "try again"
		if apierrors.IsForbidden(err) {
			fix = "bind ClusterRole weir-control to the control plane's ServiceAccount"
		}
		return access.Instance{}, &access.Error{Code: access.Unavailable, Message: "the cluster cannot be asked whose the token is", Fix: fix, Err: err}
	}
	extra := make(map[string][]string, len(answer.Status.User.Extra))
	for key, values := range answer.Status.User.Extra {
		extra[key] = values
	}
	return access.Review{Authenticated: answer.Status.Authenticated, Username: answer.Status.User.Username, Extra: extra}.Instance()
}
