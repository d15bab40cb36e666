package cli_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry/kube"
)

// zoned is an application of a real API server whose instances are in zones, as the
// endpoint slices say.
type zoned struct {
	*testkube.Namespace
	app  string
	at   netip.Addr
	pods map[string]*corev1.Pod // by zone
	port map[string]int32
}

// newZoned makes an application with an instance in each zone, which answers with the
// zone's name. All have one address and a port of their own, as pods of a node's network
// have, since that is all a machine has that an API server takes.
func newZoned(t *testing.T, ns *testkube.Namespace, app string, zones ...string) *zoned {
	t.Helper()
	z := &zoned{Namespace: ns, app: app, at: ownAddress(t), pods: map[string]*corev1.Pod{}, port: map[string]int32{}}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: app}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "tri", Port: 20000}}}}
	if _, err := ns.Cluster.Client.CoreV1().Services(ns.Name).Create(testkube.Context(t), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, zone := range zones {
		z.port[zone] = serveTriple(t, zone)
		z.pods[zone] = ns.Pod(t, app, app+"-"+zone, testkube.Pod{IP: z.at, Annotations: map[string]string{
			kube.AnnotationMetadata: fmt.Sprintf(`{"dubbo.endpoints":"[{\"port\":%d,\"protocol\":\"tri\"}]","dubbo.metadata.revision":"r1"}`, z.port[zone]),
		}})
		if _, err := ns.Cluster.Client.DiscoveryV1().EndpointSlices(ns.Name).Create(testkube.Context(t), z.slice(zone, true), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return z
}

// serveTriple answers every call of Triple in JSON with a name, at a port of its own.
func serveTriple(t *testing.T, name string) (port int32) {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `"`+name+`"`)
	}))
	_ = upstream.Listener.Close()
	upstream.Listener, upstream.Config.Protocols = l, new(http.Protocols)
	upstream.Config.Protocols.SetUnencryptedHTTP2(true)
	upstream.Start()
	t.Cleanup(upstream.Close)
	return int32(netip.MustParseAddrPort(l.Addr().String()).Port())
}

func (z *zoned) slice(zone string, ready bool) *discoveryv1.EndpointSlice {
	family := discoveryv1.AddressTypeIPv4
	if z.at.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	pod := z.pods[zone]
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: z.app + "-" + zone, Labels: map[string]string{discoveryv1.LabelServiceName: z.app}},
		AddressType: family, Ports: []discoveryv1.EndpointPort{{Name: new("tri"), Port: new(z.port[zone])}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{z.at.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: z.Name, Name: pod.Name, UID: pod.UID},
		}},
	}
}

func (z *zoned) turn(t *testing.T, zone string, ready bool) {
	t.Helper()
	if _, err := z.Cluster.Client.DiscoveryV1().EndpointSlices(z.Name).Update(testkube.Context(t), z.slice(zone, ready), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A gateway calls its own zone while that has somebody who is ready, the others when it
// has not, and its own alone again, and no call fails: one that is told its zone, and one
// that is an instance of which the cluster knows the zone. One that is told nothing calls
// all.
func TestTheGatewayCallsItsOwnZone(t *testing.T) {
	ns := testkube.Start(t).Namespace(t)
	stock := newZoned(t, ns, "stock", "east", "north", "west")
	self := newZoned(t, ns, "gateway", "west")
	t.Setenv("POD_NAME", self.pods["west"].Name)
	t.Setenv("POD_NAMESPACE", ns.Name)
	t.Setenv("POD_UID", string(self.pods["west"].UID))

	url := newRestartable(t).server.URL()
	of := []string{"--database-url", url, "--kubeconfig", ns.Cluster.Kubeconfig, "--namespaces", ns.Name}
	control := start(t, nil, append([]string{"control", "--control-listen", "127.0.0.1:0", "--admin-listen", ""}, of...)...)
	env := map[string]string{"WEIR_SERVER": control.serving(t), "WEIR_TOKEN": loginToken(t, control)}
	file := write(t, "route.yaml", "namespace: shop\nname: stock\nmatch: {path: /stock, method: POST}\nupstream:\n  dubbo: {app: "+ns.Name+"/stock, interface: org.example.Stock, method: Get, message: {body: true}}\n")
	if code, out, errs := do(t, env, "route", "apply", "-f", file, "--reason", "test"); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	gateway := func(more ...string) *zoneCalls {
		args := append([]string{"gateway", "--gateway-listen", "127.0.0.1:0", "--admin-listen", "", "--data-dir", t.TempDir(), "--control-url", "off", "--tracing-url", "off"}, of...)
		return callZones(t, start(t, nil, append(args, more...)...).serving(t))
	}
	named, known, blind := gateway("--same-zone", "50", "--zone", "east"), gateway("--same-zone", "50"), gateway()
	named.only("the zone that was named", "east")
	known.only("the zone of its own instance", "west")
	blind.only("no zone", "east", "north", "west")

	stock.turn(t, "east", false)
	named.only("the others, where the zone has none", "north", "west")
	known.only("the zone of its own instance all the while", "west")
	stock.turn(t, "east", true)
	named.only("the zone alone again", "east")

	// What is in the slices no more is gone as well.
	err := ns.Cluster.Client.DiscoveryV1().EndpointSlices(ns.Name).Delete(testkube.Context(t), "stock-west", metav1.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	known.only("the others, where the zone has none", "east", "north")
	if _, err := ns.Cluster.Client.DiscoveryV1().EndpointSlices(ns.Name).Create(testkube.Context(t), stock.slice("west", true), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	known.only("the zone of its own instance again", "west")
	named.only("the zone that was named, to the end", "east")
}

// zoneCalls are calls through a gateway that go on until the test ends, none of which
// may fail.
type zoneCalls struct {
	t    *testing.T
	made chan string
}

func callZones(t *testing.T, front string) *zoneCalls {
	t.Helper()
	z := &zoneCalls{t: t, made: make(chan string)}
	post := func() (int, string, error) {
		resp, err := web.Post(front+"/stock", "application/json", strings.NewReader(`{"name":"tea"}`))
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.Trim(strings.TrimSpace(string(raw)), `"`), err
	}
	testkube.Eventually(t, "the gateway knows the route and the application", func() error {
		if status, body, err := post(); status != http.StatusOK || err != nil {
			return fmt.Errorf("%d %s %w", status, body, err)
		}
		return nil
	})
	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for {
			status, body, err := post()
			if status != http.StatusOK || err != nil {
				t.Errorf("a call failed: %d %s %v", status, body, err)
				return
			}
			select {
			case z.made <- body:
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); load.Wait() })
	return z
}

// only waits until 40 calls in a row go to some zones, to each of them, and to no other.
func (z *zoneCalls) only(what string, zones ...string) {
	z.t.Helper()
	testkube.Eventually(z.t, what, func() error {
		seen := map[string]int{}
		for range 40 {
			select {
			case from := <-z.made:
				seen[from]++
			case <-time.After(testkube.Deadline):
				z.t.Fatal("no calls are made any more")
			}
		}
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, zones) {
			return fmt.Errorf("of 40 calls the zones got %v", seen)
		}
		return nil
	})
}
