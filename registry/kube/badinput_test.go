package kube_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weirmesh/weir/internal/testkube"
	"github.com/weirmesh/weir/registry"
	"github.com/weirmesh/weir/registry/kube"
)

// slice makes an EndpointSlice by hand, as owners of Services without a selector do.
func slice(t *testing.T, n *testkube.Namespace, service, name string, kind discoveryv1.AddressType, endpoints ...discoveryv1.Endpoint) {
	t.Helper()
	port, portName := int32(20000), "main"
	_, err := n.Cluster.Client.DiscoveryV1().EndpointSlices(n.Name).Create(testkube.Context(t), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: "by-hand.example.com"}},
		AddressType: kind, Endpoints: endpoints, Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func at(address string, pod *corev1.Pod) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{address}}
	if pod != nil {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
	}
	return e
}

func withoutSelector(s *corev1.Service) { s.Spec.Selector = nil }

func inMode(mode string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Annotations = map[string]string{kube.AnnotationCallMode: mode} }
}

const speaksTri = `{"dubbo.endpoints":"[{\"port\":20000,\"protocol\":\"tri\"}]"}`

// badInput is something that people, or programs of theirs, write wrongly, or that is
// merely odd.
type badInput struct {
	name string
	// make makes it, as the application of the case's name.
	make func(t *testing.T, n *testkube.Namespace, app string)
	// want is what becomes of the application.
	want func(s registry.Snapshot) error
	// log is what is logged, once; event what its owner is told, once, as "Kind/name
	// Reason: message". Empty for nothing.
	log, event string
}

func counts(instances, callable int) func(registry.Snapshot) error {
	return func(s registry.Snapshot) error {
		if len(s.Instances) != instances || len(s.Callable()) != callable {
			return fmt.Errorf("%d of %d instances are called, want %d of %d", len(s.Callable()), len(s.Instances), callable, instances)
		}
		return nil
	}
}

func annotated(key, text string) func(*testing.T, *testkube.Namespace, string) {
	return func(t *testing.T, n *testkube.Namespace, app string) {
		t.Helper()
		n.Service(t, app, 20000)
		n.Pod(t, app, app+"-0", testkube.Pod{Annotations: map[string]string{key: text}})
	}
}

var badInputs = []badInput{
	{
		name: "broken-json", make: annotated(kube.AnnotationMetadata, `{"dubbo.endpoints":`), want: counts(1, 0),
		log:   `pod=NS/broken-json-0 fault="its annotation io.dubbo/metadata cannot be read: the JSON ends too early"`,
		event: "Pod/broken-json-0 RegistrationUnreadable: its annotation io.dubbo/metadata cannot be read: the JSON ends too early; nobody calls it until that is mended, or its pod restarted",
	},
	{
		name: "no-map", make: annotated(kube.AnnotationMetadata, `["tri"]`), want: counts(1, 0),
		log:   `pod=NS/no-map-0 fault="its annotation io.dubbo/metadata cannot be read: a JSON array stands at byte 1 where a JSON object of strings belongs"`,
		event: "Pod/no-map-0 RegistrationUnreadable: its annotation io.dubbo/metadata cannot be read: a JSON array stands at byte 1 where a JSON object of strings belongs; nobody calls it until that is mended, or its pod restarted",
	},
	{
		name: "port-zero", make: annotated(kube.AnnotationMetadata, `{"dubbo.endpoints":"[{\"port\":0,\"protocol\":\"tri\"}]"}`), want: counts(1, 0),
		log:   `pod=NS/port-zero-0 fault="its annotation io.dubbo/metadata cannot be read: dubbo.endpoints names port 0, which is none"`,
		event: "Pod/port-zero-0 RegistrationUnreadable: its annotation io.dubbo/metadata cannot be read: dubbo.endpoints names port 0, which is none; nobody calls it until that is mended, or its pod restarted",
	},
	{
		name: "port-too-high", make: annotated(kube.AnnotationMetadata, `{"dubbo.endpoints":"[{\"port\":65536,\"protocol\":\"tri\"}]"}`), want: counts(1, 0),
		log:   `pod=NS/port-too-high-0 fault="its annotation io.dubbo/metadata cannot be read: dubbo.endpoints names port 65536, which is none"`,
		event: "Pod/port-too-high-0 RegistrationUnreadable: its annotation io.dubbo/metadata cannot be read: dubbo.endpoints names port 65536, which is none; nobody calls it until that is mended, or its pod restarted",
	},
	{
		name: "bad-weight", make: annotated(kube.AnnotationInstance, `{"v":1,"weight":99999}`), want: counts(1, 1),
		log:   `pod=NS/bad-weight-0 fault="its annotation weirmesh.io/instance names weight 99999, which is not between 1 and 10000"`,
		event: "Pod/bad-weight-0 DetailsIgnored: its annotation weirmesh.io/instance names weight 99999, which is not between 1 and 10000",
	},
	{
		name: "one-address",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000)
			ip := testkube.NextIP()
			// As after a pod that ended while its node was away, whose address was given anew.
			n.Pod(t, app, app+"-old", testkube.Pod{IP: ip, Annotations: map[string]string{
				kube.AnnotationMetadata: speaksTri, kube.AnnotationInstance: `{"v":1,"startTime":"2026-11-20T12:00:00Z"}`,
			}})
			n.Pod(t, app, app+"-new", testkube.Pod{IP: ip, Annotations: map[string]string{
				kube.AnnotationMetadata: speaksTri, kube.AnnotationInstance: `{"v":1,"startTime":"2026-11-20T13:00:00Z"}`,
			}})
		},
		want: func(s registry.Snapshot) error {
			if called := s.Callable(); len(s.Instances) != 2 || len(called) != 1 || called[0].Name != "one-address-new" {
				return fmt.Errorf("called are %v", called)
			}
			return nil
		},
		event: "Pod/one-address-old AddressClaimedTwice: its address IP is claimed by pod one-address-new as well, which is taken for the one that has it; delete this one if it has ended",
	},
	{
		name: "one-node",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000)
			ip := testkube.NextIP()
			// Pods of a node's network share its address, and differ by port.
			n.Pod(t, app, app+"-a", testkube.Pod{IP: ip, Annotations: map[string]string{kube.AnnotationMetadata: speaksTri}})
			n.Pod(t, app, app+"-b", testkube.Pod{IP: ip, Annotations: map[string]string{kube.AnnotationMetadata: `{"dubbo.endpoints":"[{\"port\":20001,\"protocol\":\"tri\"}]"}`}})
		},
		want: counts(2, 2),
	},
	{
		name: "no-selector",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, withoutSelector)
			slice(t, n, app, app+"-byhand", discoveryv1.AddressTypeIPv4, at("198.19.255.1", nil))
		},
		want: func(s registry.Snapshot) error {
			if err := counts(1, 1)(s); err != nil {
				return err
			}
			if i := s.Instances[0]; i.ID != "address:198.19.255.1" || i.Registered() {
				return fmt.Errorf("it is %+v", i)
			}
			return nil
		},
	},
	{
		name: "external-name",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, inMode("service"), func(s *corev1.Service) {
				s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "inventory.example.com"}
			})
		},
		want: func(s registry.Snapshot) error {
			if !s.Service.Headless || s.Mode != registry.ModeService || len(s.Instances) != 0 {
				return fmt.Errorf("it is %+v", s)
			}
			return nil
		},
		event: "Service/external-name ServiceModeImpossible: its annotation weirmesh.io/call-mode asks for calls to the Service, which has no address of its own (it is headless, or an ExternalName): its pods are called",
	},
	{
		name: "headless",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, inMode("service"), func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
			n.Pod(t, app, app+"-0", testkube.Pod{})
		},
		want: func(s registry.Snapshot) error {
			if !s.Service.Headless {
				return errors.New("it is not taken for headless")
			}
			return counts(1, 1)(s)
		},
		event: "Service/headless ServiceModeImpossible: its annotation weirmesh.io/call-mode asks for calls to the Service, which has no address of its own (it is headless, or an ExternalName): its pods are called",
	},
	{
		name: "sticky",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, inMode("service"), func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP })
			n.Pod(t, app, app+"-0", testkube.Pod{})
		},
		want:  counts(1, 1),
		event: "Service/sticky ServiceModeUneven: its annotation weirmesh.io/call-mode asks for calls to the Service, whose sessionAffinity ClientIP leads all connections of a consumer to one pod: set it to None, or call pods",
	},
	{
		name: "local",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, inMode("service"), func(s *corev1.Service) {
				s.Spec.InternalTrafficPolicy = new(corev1.ServiceInternalTrafficPolicyLocal)
			})
			n.Pod(t, app, app+"-0", testkube.Pod{})
		},
		want:  counts(1, 1),
		event: "Service/local ServiceModeUneven: its annotation weirmesh.io/call-mode asks for calls to the Service, whose internalTrafficPolicy Local leads a consumer to pods of its own node alone, and to none where there is none: set it to Cluster, or call pods",
	},
	{
		name: "sideways",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, inMode("sideways"))
			n.Pod(t, app, app+"-0", testkube.Pod{})
		},
		want: func(s registry.Snapshot) error {
			if s.Mode != registry.ModePod {
				return fmt.Errorf("its mode is %q", s.Mode)
			}
			return counts(1, 1)(s)
		},
		log:   `service=NS/sideways annotation=weirmesh.io/call-mode reason="it says \"sideways\", which is neither \"pod\" nor \"service\""`,
		event: `Service/sideways CallModeUnknown: its annotation weirmesh.io/call-mode says "sideways", which is neither "pod" nor "service": pod holds`,
	},
	{
		name: "ipv6",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, withoutSelector)
			slice(t, n, app, app+"-byhand", discoveryv1.AddressTypeIPv6, at("fd00::7", n.Pod(t, "none", app+"-0", testkube.Pod{})))
		},
		want: func(s registry.Snapshot) error {
			if err := counts(1, 1)(s); err != nil {
				return err
			}
			if host := s.Instances[0].Host.String(); host != "fd00::7" {
				return fmt.Errorf("its address is %s", host)
			}
			return nil
		},
	},
	{
		name: "dual-stack",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, withoutSelector)
			pod := n.Pod(t, "none", app+"-0", testkube.Pod{})
			slice(t, n, app, app+"-6", discoveryv1.AddressTypeIPv6, at("fd00::8", pod))
			slice(t, n, app, app+"-4", discoveryv1.AddressTypeIPv4, at(pod.Status.PodIP, pod))
		},
		want: func(s registry.Snapshot) error {
			if err := counts(1, 1)(s); err != nil {
				return err
			}
			if !s.Instances[0].Host.Is4() {
				return fmt.Errorf("its address is %s, and the Service's first family is IPv4", s.Instances[0].Host)
			}
			return nil
		},
	},
	{
		name: "by-name",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000, withoutSelector)
			slice(t, n, app, app+"-fqdn", discoveryv1.AddressTypeFQDN, at("inventory.example.com", nil))
		},
		want: counts(0, 0),
	},
	{
		name: "stray-slice",
		make: func(t *testing.T, n *testkube.Namespace, app string) {
			n.Service(t, app, 20000)
			n.Pod(t, app, app+"-0", testkube.Pod{})
			slice(t, n, "Not_A_Service", "nobodys", discoveryv1.AddressTypeIPv4, at("198.19.255.2", nil))
		},
		want: counts(1, 1),
		log:  `slice=NS/nobodys reason="its label kubernetes.io/service-name says \"Not_A_Service\", which is no name of a Service"`,
	},
}

// Each bad input costs at most what is bad: an application beside it is called as
// before, what is wrong is logged once by whoever looks, and its owner finds one event
// on the object, however many control planes there are.
func TestBadInputHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "good", 20000)
	n.Pod(t, "good", "good-0", testkube.Pod{Annotations: map[string]string{kube.AnnotationMetadata: speaksTri}})
	n.AwaitEndpoint(t, "good", "good-0", true)
	var log safeBuffer
	cfg := stranger(n, n.Cluster.REST())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	hub := openHub(t, cfg)
	good := watch(t, hub, registry.App{Namespace: n.Name, Name: "good"})
	good.await("the good one", ready(1))
	as := controller(t, n)
	clocks := []*lookingClock{{}, {}}
	for _, c := range clocks {
		tend(t, n, as, kube.CaretakerConfig{Now: c.now})
	}
	var told []string
	for _, in := range badInputs {
		in.make(t, n, in.name)
		app := registry.App{Namespace: n.Name, Name: in.name}
		var last registry.Snapshot
		testkube.Eventually(t, in.name, func() error {
			s, err := hub.Snapshot(testkube.Context(t), app)
			if err != nil {
				return err
			}
			last = s
			return in.want(s)
		})
		for i := range last.Instances {
			held := slices.ContainsFunc(last.Explain(&last.Instances[i], nil), func(f registry.Finding) bool { return f.Effect == registry.EffectHeld })
			if held == last.Instances[i].Callable() {
				t.Errorf("%s: the explanation of %+v does not say what holds", in.name, last.Instances[i])
			}
		}
		if in.event != "" {
			event := in.event
			for i := range last.Instances {
				event = strings.ReplaceAll(event, "address IP is", "address "+last.Instances[i].Host.String()+" is")
			}
			told = append(told, event)
		}
	}
	events := func() map[string]int {
		t.Helper()
		list, err := n.Cluster.Client.CoreV1().Events(n.Name).List(testkube.Context(t), metav1.ListOptions{FieldSelector: "source=weir-control"})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]int{}
		for _, e := range list.Items {
			if e.Type != corev1.EventTypeWarning || e.InvolvedObject.UID == "" || e.InvolvedObject.APIVersion != "v1" {
				t.Errorf("kubectl describe would not show %+v", e)
			}
			all[fmt.Sprintf("%s/%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)] += int(e.Count)
		}
		return all
	}
	testkube.Eventually(t, "the events", func() error {
		all := events()
		for _, want := range told {
			if all[want] == 0 {
				return fmt.Errorf("there is no %q among %v", want, all)
			}
		}
		return nil
	})
	for _, c := range clocks {
		c.look(t, 5)
	}
	all := events()
	for text, count := range all {
		if count != 1 || !slices.Contains(told, text) {
			t.Errorf("%d times: %s", count, text)
		}
	}
	for _, in := range badInputs {
		if want := strings.ReplaceAll(in.log, "NS", n.Name); want != "" && strings.Count(log.String(), want) != 1 {
			t.Errorf("%s: logged %d times: %s", in.name, strings.Count(log.String(), want), want)
		}
	}
	good.mu.Lock()
	defer good.mu.Unlock()
	for _, s := range good.all {
		if len(s.Callable()) != 1 {
			t.Errorf("the good one was harmed: %+v", s)
		}
	}
	// Whoever asks for all is told of all that are, and of nothing that is none.
	apps, err := hub.Apps(testkube.Context(t), n.Name)
	if err != nil || len(apps) != len(badInputs)+1 {
		t.Errorf("%d applications, want %d: %v (%v)", len(apps), len(badInputs)+1, apps, err)
	}
	for _, app := range apps {
		if _, err := hub.Snapshot(testkube.Context(t), app); err != nil {
			t.Errorf("%s: %v", app, err)
		}
	}
}

// All annotations of a pod together hold 256 KiB, whoever wrote them.
func TestAPodWithoutRoomForItsRegistration(t *testing.T) {
	t.Parallel()
	n := testkube.Start(t).Namespace(t)
	n.Service(t, "inventory", 20000)
	n.Pod(t, "inventory", "inventory-0", testkube.Pod{Annotations: map[string]string{"example.com/large": strings.Repeat("x", 200<<10)}})
	pod, err := n.Cluster.Client.CoreV1().Pods(n.Name).Get(testkube.Context(t), "inventory-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hub := openHub(t, kube.Config{REST: n.Cluster.REST(), Lazy: true, Identity: kube.Identity{Pod: pod.Name, Namespace: n.Name, UID: string(pod.UID)}})
	app := registry.App{Namespace: n.Name, Name: "inventory"}
	err = hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{"k": strings.Repeat("y", 100<<10)}})
	wantError(t, err, registry.Invalid, "the annotations of pod "+n.Name+"/inventory-0 would be longer than 256 KiB together")
	wantError(t, err, registry.Invalid, "; take other large annotations from the pod, or keep large metadata in the metadata report (storage-type remote)")
	// What fits is written all the same.
	if err := hub.Register(testkube.Context(t), registry.Registration{App: app, Metadata: map[string]string{"k": "v"}}); err != nil {
		t.Fatal(err)
	}
}
