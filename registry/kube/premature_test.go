package kube

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weirmesh/weir/registry"
)

// Which refusals may pass, by what came before them.
func TestRefusalsThatMayPass(t *testing.T) {
	var (
		refused  = apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("no role"))
		unread   = apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New(`RBAC: clusterrole.rbac.authorization.k8s.io "weir-consumer" not found`))
		unknown  = apierrors.NewUnauthorized("Unauthorized")
		failing  = apierrors.NewServiceUnavailable("starting")
		conflict = apierrors.NewConflict(corev1.Resource("pods"), "", errors.New("changed"))
		absent   = errors.New("connection refused")
		ours     = error(&registry.Error{Code: registry.NotFound, Message: "there is no pod"})
		answer   error
	)
	synctest.Test(t, func(t *testing.T) {
		h := syncedHub(Config{})
		is := func(after time.Duration, err error, want bool) {
			t.Helper()
			advance(after)
			if got := h.premature(err); got != want {
				t.Errorf("%v counts as passing: %v", err, got)
			}
		}
		is(0, refused, false)
		is(0, unknown, true) // who has just started does not know what came before
		is(6*time.Second, unread, true)
		is(0, conflict, false)
		is(6*time.Second, unknown, false)
		is(6*time.Second, unread, false)
		is(6*time.Second, answer, false)
		is(0, unknown, true)
		is(6*time.Second, ours, false)
		is(6*time.Second, unknown, false)
		is(0, refused, false)
		is(0, failing, false)
		is(time.Second, unknown, true)
		is(0, refused, true)
		is(9*time.Second, refused, false)
		is(0, absent, false)
		is(time.Second, refused, true)
		is(time.Hour, unread, true) // the first for long
	})
}
