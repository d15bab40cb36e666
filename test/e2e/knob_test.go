package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// turn makes an operation of an app faulty in all its pods, until the returned
// function turns it back, or the test ends.
func (s *shop) turn(app, operation, setting string) (back func()) {
	s.t.Helper()
	pods, err := s.pods(app)
	if err != nil {
		s.t.Fatal(err)
	}
	knob(s.t.Context(), s.t, pods, http.MethodPut, fmt.Sprintf(`{%q: %s}`, operation, setting))
	back = func() {
		// Not the test's context, which has ended when a test cleans up.
		knob(context.Background(), s.t, pods, http.MethodDelete, "")
	}
	s.t.Cleanup(back)
	return back
}

func knob(ctx context.Context, t *testing.T, pods []corev1.Pod, method, setting string) {
	t.Helper()
	for i := range pods {
		if !ready(&pods[i]) {
			continue
		}
		a, err := request(ctx, method, "http://"+adminOf(pods[i])+"/knobs", setting)
		if err != nil || a.status != http.StatusOK {
			t.Errorf("knobs of %s: %v %s", pods[i].Name, err, a)
		}
	}
}
