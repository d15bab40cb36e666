package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
)

// ownAddress is one of this machine at which a cluster may have endpoints: none of the
// loopback, which an API server refuses.
func ownAddress(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			return p.Addr()
		}
	}
	t.Fatal("this machine has no address beside its loopback, at which a cluster could have endpoints")
	return netip.Addr{}
}

// serveName answers with a name at a port of its own.
func serveName(t *testing.T, name string) (port int32) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	_ = upstream.Listener.Close()
	upstream.Listener = l
	upstream.Start()
	t.Cleanup(upstream.Close)
	return int32(netip.MustParseAddrPort(l.Addr().String()).Port())
}

// shelf is one cluster with an application shop/cart, whose instance is at one address.
type shelf struct {
	*testkube.Namespace
	at   netip.Addr
	port int32
}

func newShelf(t *testing.T, at netip.Addr, port int32) *shelf {
	t.Helper()
	s := &shelf{Namespace: testkube.StartOwn(t).Named(t, "shop"), at: at, port: port}
	ctx := testkube.Context(t)
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "cart"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: port}}}}
	if _, err := s.Cluster.Client.CoreV1().Services("shop").Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Cluster.Client.DiscoveryV1().EndpointSlices("shop").Create(ctx, s.slice(true), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *shelf) slice(ready bool) *discoveryv1.EndpointSlice {
	family := discoveryv1.AddressTypeIPv4
	if s.at.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "cart-1", Labels: map[string]string{discoveryv1.LabelServiceName: "cart"}},
		AddressType: family, Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(s.port)}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{s.at.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}
}

func (s *shelf) turn(t *testing.T, ready bool) {
	t.Helper()
	if _, err := s.Cluster.Client.DiscoveryV1().EndpointSlices("shop").Update(testkube.Context(t), s.slice(ready), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A gateway and a control plane of two clusters: the gateway calls the first, the
// second when the first has nobody, and the first again, and no call fails; one that
// starts while the second's API server is down knows it all the same; and the control
// plane shows both.
func TestSeveralClusters(t *testing.T) {
	address, ports := ownAddress(t), [2]int32{serveName(t, "east"), serveName(t, "west")}
	var east, west *shelf
	var starts sync.WaitGroup
	starts.Go(func() { east = newShelf(t, address, ports[0]) })
	starts.Go(func() { west = newShelf(t, address, ports[1]) })
	starts.Wait()
	if t.Failed() {
		return
	}
	db := newRestartable(t)
	url := db.server.URL()
	of := []string{"--database-url", url, "--kubeconfig", east.Cluster.Kubeconfig, "--cluster-name", "east", "--clusters", "west=" + west.Cluster.Kubeconfig}
	control := start(t, nil, append([]string{"control", "--control-listen", "127.0.0.1:0", "--admin-listen", ""}, of...)...)
	env := map[string]string{"WEIR_SERVER": control.serving(t), "WEIR_TOKEN": loginToken(t, control)}
	admin, dir := adminOf(t), t.TempDir()
	args := append([]string{
		"gateway", "--gateway-listen", "127.0.0.1:0", "--admin-listen", admin, "--data-dir", dir, "--registry-snapshot-dir", dir,
		"--control-url", "off", "--tracing-url", "off",
	}, of...)
	gateway := start(t, nil, args...)
	front := gateway.serving(t)
	ready(t, admin)
	file := write(t, "route.yaml", "namespace: shop\nname: cart\nmatch: {path: /cart}\nupstream: {app: shop/cart}\n")
	if code, out, errs := do(t, env, "route", "apply", "-f", file, "--reason", "test", "--wait", "10s"); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}

	// calls go through the gateway until stop, and none fails.
	made := make(chan string)
	calls := func(front string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		load.Go(func() {
			for ctx.Err() == nil {
				resp, err := web.Get(front + "/cart")
				if err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				raw, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK || err != nil {
					t.Errorf("a call failed: %s %s %v", resp.Status, raw, err)
					return
				}
				select {
				case made <- string(raw):
				case <-ctx.Done():
				}
			}
		})
		return func() { cancel(); load.Wait() }
	}
	only := func(what, want string) {
		t.Helper()
		testkube.Eventually(t, what, func() error {
			for range 20 {
				select {
				case from := <-made:
					if from != want {
						return fmt.Errorf("%s was", from)
					}
				case <-time.After(testkube.Deadline):
					t.Fatal("no calls are made any more")
				}
			}
			return nil
		})
	}
	testkube.Eventually(t, "the gateway knows the application", func() error {
		if status, body := get(t, front+"/cart"); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	stop := calls(front)
	only("the first cluster is called", "east")
	// Where the second was heard before the first, it was called at the start.
	_, before := get(t, "http://"+admin+"/metrics")
	count := func(metrics, series string) (n int) {
		t.Helper()
		_, after, ok := strings.Cut(metrics, "\n"+series+" ")
		if _, err := fmt.Sscan(after, &n); !ok || err != nil {
			t.Errorf("the gateway does not count %s: %v", series, err)
		}
		return n
	}
	east.turn(t, false)
	only("the other is called", "west")
	east.turn(t, true)
	// The return takes the 30 s that the other is called as well, if not with each call.
	testkube.Eventually(t, "the return is counted", func() error {
		const returns = `weir_registry_returns_total{cluster="west"}`
		select {
		case <-made: // the calls go on
		default:
		}
		if _, metrics := get(t, "http://"+admin+"/metrics"); count(metrics, returns) == count(before, returns) {
			return errors.New("it is not")
		}
		return nil
	})
	only("the first is called alone again", "east")
	stop()
	_, metrics := get(t, "http://"+admin+"/metrics")
	for series, want := range map[string]int{
		`weir_registry_failovers_total{cluster="west"}`: 1, `weir_registry_returns_total{cluster="west"}`: 1, `weir_registry_failovers_total{cluster="east"}`: 0,
	} {
		if more := count(metrics, series) - count(before, series); more != want {
			t.Errorf("%s grew by %d, want %d", series, more, want)
		}
	}
	for _, want := range []string{
		`weir_registry_called_instances{cluster="east"} 1`, `weir_registry_standby_instances{cluster="west"} 1`, `weir_registry_cluster_unheard{cluster="west"} 0`,
		`weir_registry_cached_instances{cluster="west",namespace="*"}`, `weir_registry_staleness_seconds{cluster="west",namespace="*",resource="endpointslices"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the gateway does not measure %s", want)
		}
	}

	// The control plane shows both, as one and apart.
	read := func(path string, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, env["WEIR_SERVER"]+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+env["WEIR_TOKEN"])
		resp, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
	}
	type counted struct {
		Cluster                      string
		Instances, Callable, Standby int
	}
	var list struct {
		Clusters []struct{ Name, Stale, Unknown string }
		Items    []struct {
			App                struct{ Name string }
			Held, Callable, Of int
			Clusters           []counted
		}
	}
	read("/api/v1/registry?namespace=shop", &list)
	if len(list.Clusters) != 2 || list.Clusters[0].Name != "east" || list.Clusters[1].Unknown != "" || len(list.Items) != 1 || list.Items[0].Held != 0 ||
		fmt.Sprint(list.Items[0].Clusters) != "[{east 1 1 0} {west 1 0 1}]" {
		t.Errorf("%+v", list)
	}
	var one struct {
		Clusters  []string
		Instances []struct {
			Cluster, Host     string
			Callable, Standby bool
		}
	}
	read("/api/v1/registry/shop/cart?cluster=west", &one)
	if len(one.Clusters) != 2 || len(one.Instances) != 1 || one.Instances[0].Cluster != "west" || !one.Instances[0].Callable {
		t.Errorf("in west: %+v", one)
	}

	// A start while the API server of the second is down, and the first has nobody.
	gateway.cancel()
	gateway.wait(t)
	west.Cluster.Kill(t)
	east.turn(t, false)
	gateway = start(t, nil, args...)
	front = gateway.serving(t)
	ready(t, admin)
	testkube.Eventually(t, "the second is called by what was known of it", func() error {
		if status, body := get(t, front+"/cart"); status != http.StatusOK || body != "west" {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	testkube.Eventually(t, "the control plane says that the second does not answer", func() error {
		read("/api/v1/registry?namespace=shop", &list)
		if len(list.Clusters) != 2 || list.Clusters[0].Stale != "" || list.Clusters[1].Stale == "" {
			return fmt.Errorf("%+v", list.Clusters)
		}
		return nil
	})
}
