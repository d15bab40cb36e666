package kube_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/httpmw"
)

// HTTP calls go by what a real API server tells: to the port that Spring Cloud
// Kubernetes would take, to pods that are ready, by the Service where it says so, and
// all of that live. The pods' addresses lead to servers in this process.
func TestHTTPCallsFollowTheCluster(t *testing.T) {
	t.Parallel()
	ns := testkube.Start(t).Namespace(t)
	client := ns.Cluster.Client.CoreV1().Services(ns.Name)
	ns.Service(t, "legacy", 80, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.ExternalName, s.Spec.Selector = corev1.ServiceTypeExternalName, "legacy.example.org", nil
	})
	ns.Service(t, "cart", 80, func(s *corev1.Service) {
		s.Labels = map[string]string{"primary-port-name": "web"}
		s.Spec.Ports = []corev1.ServicePort{
			{Name: "management", Port: 9000, TargetPort: intstr.FromInt32(9090)},
			// TLS ends in front of it.
			{Name: "web", Port: 443, TargetPort: intstr.FromString("web")},
		}
	})
	servers := map[string]string{} // address of a pod → of its server
	var hits [2]atomic.Int64
	for n := range hits {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hits[n].Add(1)
			_, _ = io.WriteString(w, r.Host)
		}))
		t.Cleanup(s.Close)
		ip := testkube.NextIP()
		servers[net.JoinHostPort(ip.String(), "8080")] = s.Listener.Addr().String()
		name := fmt.Sprint("cart-", n)
		ns.Pod(t, "cart", name, testkube.Pod{IP: ip, Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}})
		ns.AwaitEndpoint(t, "cart", name, true)
	}
	var byService, byName atomic.Int64
	over := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := servers[address]
		if address == "cart."+ns.Name+".svc:443" {
			byService.Add(1)
			for _, to = range servers {
				ok = true
				break
			}
		}
		if address == "legacy:80" {
			byName.Add(1)
			for _, to = range servers {
				ok = true
			}
		}
		if !ok {
			return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("nobody is at %s", address)}
		}
		return new(net.Dialer).DialContext(ctx, network, to)
	}}
	hub := openHub(t, stranger(ns, ns.Cluster.REST()))
	kit, err := sdk.Start(t.Context(), sdk.Config{App: ns.Name + "/storefront", StateDir: sdk.Off, Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kit.Close(context.Background()) })
	c := &http.Client{Transport: httpmw.Client(kit, httpmw.Over(over), httpmw.Discover(hub, httpmw.Strict()))}
	t.Cleanup(c.CloseIdleConnections)
	ask := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://cart/x", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "cart" {
			return fmt.Errorf("answered %q, %w", body, err)
		}
		return nil
	}
	for range 30 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	// The name of what is not the cluster's leads there.
	before := byName.Load()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://legacy/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := c.Do(req); err != nil {
		t.Error(err)
	} else if _ = resp.Body.Close(); byName.Load() != before+1 {
		t.Error("another host was called")
	}
	if hits[0].Load() == 0 || hits[1].Load() == 0 {
		t.Errorf("hits are %d and %d", hits[0].Load(), hits[1].Load())
	}
	ns.SetReady(t, "cart-0", false)
	testkube.Eventually(t, "the pod that is not ready gets nothing", func() error {
		before := hits[0].Load()
		for range 10 {
			if err := ask(); err != nil {
				return err
			}
		}
		if hits[0].Load() != before {
			return fmt.Errorf("it got %d", hits[0].Load()-before)
		}
		return nil
	})
	patch := `{"metadata":{"annotations":{"weirmesh.io/call-mode":"service"}}}`
	if _, err := client.Patch(testkube.Context(t), "cart", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "the Service is called", func() error {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if byService.Load() == 0 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}
