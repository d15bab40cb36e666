package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/cmd/weir/internal/cluster"
	"github.com/weirmesh/weir/internal/access"
	"github.com/weirmesh/weir/internal/testkube"
)

// The API server itself says whose a token is, bound to a pod or not, and a
// deleted pod's proves nothing any more.
func TestReview(t *testing.T) {
	kube := testkube.Start(t)
	ns := kube.Namespace(t)
	ctx := testkube.Context(t)
	ns.ServiceAccount(t, "orders")
	ns.ServiceAccount(t, "control")
	ns.Service(t, "orders", 8080)
	pod := ns.Pod(t, "orders", "orders-0", testkube.Pod{ServiceAccount: "orders"})
	token := func(bound *authenticationv1.BoundObjectReference) string {
		t.Helper()
		made, err := kube.Client.CoreV1().ServiceAccounts(ns.Name).CreateToken(ctx, "orders",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return made.Status.Token
	}
	review := func(target *cluster.Target, token string) (access.Instance, error) {
		t.Helper()
		r, err := cluster.NewReviewer(target)
		if err != nil {
			t.Fatal(err)
		}
		return r.Review(ctx, token)
	}
	admin := &cluster.Target{REST: kube.REST(), Origin: "test"}

	free := token(nil)
	got, err := review(admin, free)
	if want := (access.Instance{Namespace: ns.Name, ServiceAccount: "orders"}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	bound := token(&authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID})
	got, err = review(admin, bound)
	if want := (access.Instance{Namespace: ns.Name, ServiceAccount: "orders", PodName: "orders-0", PodUID: string(pod.UID)}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}

	var denied *access.DeniedError
	forged := free[:strings.LastIndex(free, ".")+1] + strings.Repeat("A", 86)
	for name, bad := range map[string]string{"forged": forged, "garbage": "a.b.c"} {
		if _, err := review(admin, bad); !errors.As(err, &denied) || !denied.Unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	ns.Remove(t, "orders-0")
	testkube.Eventually(t, "the pod's token is refused", func() error {
		if _, err := review(admin, bound); !errors.As(err, &denied) {
			return errors.New("it still counts")
		}
		return nil
	})

	// Who may not ask says what is lacking; who is allowed by our role may.
	control := &cluster.Target{REST: ns.As(t, "control", nil), Origin: "test"}
	_, err = review(control, free)
	var e *access.Error
	if !errors.As(err, &e) || e.Code != access.Unavailable || !strings.Contains(e.Fix, "weir-control") {
		t.Errorf("without the right: %v", err)
	}
	away, cancel := context.WithCancel(ctx)
	cancel()
	r, err := cluster.NewReviewer(admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Review(away, free); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
