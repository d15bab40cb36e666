package testkube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
)

// Zone is the zone of the node that the tests' pods are on.
const Zone = "zone-a"

// Namespace is a namespace of one test.
type Namespace struct {
	Name    string
	Cluster *Cluster
}

// Namespace makes a namespace, which goes when the test ends.
func (c *Cluster) Namespace(tb testing.TB) *Namespace {
	tb.Helper()
	return c.namespace(tb, metav1.ObjectMeta{GenerateName: "weir-test-"})
}

// Named is Namespace with a name of the test's own, as several clusters of one test
// have to have.
func (c *Cluster) Named(tb testing.TB, name string) *Namespace {
	tb.Helper()
	return c.namespace(tb, metav1.ObjectMeta{Name: name})
}

func (c *Cluster) namespace(tb testing.TB, meta metav1.ObjectMeta) *Namespace {
	tb.Helper()
	ctx := Context(tb)
	ns, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("make a namespace: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// The cluster may be gone; nobody waits for the namespace to be.
		_ = c.Client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{})
	})
	n := &Namespace{Name: ns.Name, Cluster: c}
	// Pods cannot be made before the controller has made the default account.
	Eventually(tb, "the default ServiceAccount", func() error {
		_, err := c.Client.CoreV1().ServiceAccounts(n.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return n
}

// Context ends with the test or after Deadline.
func Context(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Deadline)
	tb.Cleanup(cancel)
	return ctx
}

// Eventually repeats check until it returns nil, and fails the test with its
// last error after Deadline.
func Eventually(tb testing.TB, what string, check func() error) {
	tb.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(Deadline)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			tb.Fatalf("%s: %v", what, err)
		}
	}
}

// Service makes a Service that selects the pods labelled app=name, at the port.
func (n *Namespace) Service(tb testing.TB, name string, port int32, change ...func(*corev1.Service)) *corev1.Service {
	tb.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.Name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{{Name: "main", Port: port, TargetPort: intstr.FromInt32(port)}},
		},
	}
	for _, f := range change {
		f(s)
	}
	s, err := n.Cluster.Client.CoreV1().Services(n.Name).Create(Context(tb), s, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("make Service %s: %v", name, err)
	}
	return s
}

// Pod says what Namespace.Pod makes. The zero value is a ready pod.
type Pod struct {
	Labels         map[string]string
	Annotations    map[string]string
	ServiceAccount string     // "default" when empty
	IP             netip.Addr // one of its own when unset
	NotReady       bool
	Ports          []corev1.ContainerPort
}

var addresses atomic.Uint32

// NextIP returns an address that EndpointSlices accept (198.18.0.0/15) and that
// no other pod of this process has.
func NextIP() netip.Addr {
	n := addresses.Add(1)
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16)&1, byte(n >> 8), byte(n)})
}

// Pod makes a pod labelled app=app on the tests' node, and does what a kubelet
// would: gives it an address and says how it is.
func (n *Namespace) Pod(tb testing.TB, app, name string, p Pod) *corev1.Pod {
	tb.Helper()
	pod, err := n.pod(Context(tb), app, name, p)
	if err != nil {
		tb.Fatalf("make pod %s: %v", name, err)
	}
	return pod
}

func (n *Namespace) pod(ctx context.Context, app, name string, p Pod) (*corev1.Pod, error) {
	labels := map[string]string{"app": app}
	maps.Copy(labels, p.Labels)
	pods := n.Cluster.Client.CoreV1().Pods(n.Name)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: p.Annotations},
		Spec: corev1.PodSpec{
			NodeName:           n.Cluster.node,
			ServiceAccountName: p.ServiceAccount,
			Containers:         []corev1.Container{{Name: "main", Image: "none.example/none", Ports: p.Ports}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if !p.IP.IsValid() {
		p.IP = NextIP()
	}
	return n.setStatus(ctx, pod.Name, p.IP, !p.NotReady)
}

// Pods makes count ready pods named app-0, app-1, … at once.
func (n *Namespace) Pods(tb testing.TB, app string, count int, each func(i int) Pod) {
	tb.Helper()
	ctx := Context(tb)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range next {
				if _, err := n.pod(ctx, app, fmt.Sprintf("%s-%d", app, i), each(i)); err != nil {
					tb.Errorf("make pod %s-%d: %v", app, i, err)
				}
			}
		})
	}
	for i := range count {
		next <- i
	}
	close(next)
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
}

func (n *Namespace) setStatus(ctx context.Context, name string, ip netip.Addr, ready bool) (*corev1.Pod, error) {
	condition := `"False"`
	if ready {
		condition = `"True"`
	}
	now := time.Now().UTC().Format(time.RFC3339)
	patch := fmt.Sprintf(`{"status":{"phase":"Running","startTime":%q,"podIP":%q,"podIPs":[{"ip":%q}],"conditions":[{"type":"Ready","status":%s,"lastTransitionTime":%q}]}}`,
		now, ip, ip, condition, now)
	return n.Cluster.Client.CoreV1().Pods(n.Name).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
}

// SetReady says that a pod is ready, or is not.
func (n *Namespace) SetReady(tb testing.TB, name string, ready bool) {
	tb.Helper()
	ctx := Context(tb)
	pod, err := n.Cluster.Client.CoreV1().Pods(n.Name).Get(ctx, name, metav1.GetOptions{})
	if err == nil {
		_, err = n.setStatus(ctx, name, netip.MustParseAddr(pod.Status.PodIP), ready)
	}
	if err != nil {
		tb.Fatalf("set readiness of pod %s: %v", name, err)
	}
}

// Annotate sets annotations of a pod; an empty value removes one.
func (n *Namespace) Annotate(tb testing.TB, name string, annotations map[string]string) {
	tb.Helper()
	var b strings.Builder
	for key, value := range annotations {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		if value == "" {
			fmt.Fprintf(&b, "%q:null", key)
		} else {
			fmt.Fprintf(&b, "%q:%q", key, value)
		}
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%s}}}`, b.String())
	if _, err := n.Cluster.Client.CoreV1().Pods(n.Name).Patch(Context(tb), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		tb.Fatalf("annotate pod %s: %v", name, err)
	}
}

// Terminate asks a pod to go, as kubectl delete does. It stays, terminating,
// until Remove.
func (n *Namespace) Terminate(tb testing.TB, name string) {
	tb.Helper()
	grace := int64(300)
	if err := n.Cluster.Client.CoreV1().Pods(n.Name).Delete(Context(tb), name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
		tb.Fatalf("terminate pod %s: %v", name, err)
	}
}

// Remove takes a pod away at once, as a kubelet does in the end. A pod that is
// not there is no failure.
func (n *Namespace) Remove(tb testing.TB, name string) {
	tb.Helper()
	grace := int64(0)
	err := n.Cluster.Client.CoreV1().Pods(n.Name).Delete(Context(tb), name, metav1.DeleteOptions{GracePeriodSeconds: &grace})
	if err != nil && !apierrors.IsNotFound(err) {
		tb.Fatalf("remove pod %s: %v", name, err)
	}
}

// ServiceAccount makes an account and binds ClusterRoles to it in this namespace.
func (n *Namespace) ServiceAccount(tb testing.TB, name string, clusterRoles ...string) {
	tb.Helper()
	_, err := n.Cluster.Client.CoreV1().ServiceAccounts(n.Name).Create(Context(tb), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		tb.Fatalf("make ServiceAccount %s: %v", name, err)
	}
	for _, role := range clusterRoles {
		n.Bind(tb, name, "ClusterRole", role)
	}
}

// Role makes a Role in this namespace.
func (n *Namespace) Role(tb testing.TB, name string, rules ...rbacv1.PolicyRule) {
	tb.Helper()
	_, err := n.Cluster.Client.RbacV1().Roles(n.Name).Create(Context(tb), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules,
	}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("make Role %s: %v", name, err)
	}
}

// Bind grants a Role or ClusterRole to an account in this namespace.
func (n *Namespace) Bind(tb testing.TB, account, kind, role string) {
	tb.Helper()
	n.BindFrom(tb, n, account, kind, role)
}

// BindFrom grants a Role or ClusterRole in this namespace to an account of
// another.
func (n *Namespace) BindFrom(tb testing.TB, home *Namespace, account, kind, role string) {
	tb.Helper()
	_, err := n.Cluster.Client.RbacV1().RoleBindings(n.Name).Create(Context(tb), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: home.Name + "-" + account + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: home.Name, Name: account}},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		tb.Fatalf("bind %s to %s: %v", role, account, err)
	}
}

// As returns the configuration of a client with the account's own token, bound
// to the pod where one is named, as a kubelet would mount it.
func (n *Namespace) As(tb testing.TB, account string, pod *corev1.Pod) *rest.Config {
	tb.Helper()
	hour := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &hour}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	token, err := n.Cluster.Client.CoreV1().ServiceAccounts(n.Name).CreateToken(Context(tb), account, request, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("make a token of %s: %v", account, err)
	}
	cfg := rest.AnonymousClientConfig(n.Cluster.rest)
	cfg.BearerToken = token.Status.Token
	cfg.QPS = -1
	tb.Cleanup(func() { closeIdle(cfg) })
	return cfg
}

// AwaitEndpoint waits until an EndpointSlice of the Service names the pod, ready
// or not as asked.
func (n *Namespace) AwaitEndpoint(tb testing.TB, service, pod string, ready bool) {
	tb.Helper()
	ctx := Context(tb)
	Eventually(tb, fmt.Sprintf("pod %s in the EndpointSlices of %s", pod, service), func() error {
		slices, err := n.Cluster.Client.DiscoveryV1().EndpointSlices(n.Name).List(ctx, metav1.ListOptions{
			LabelSelector: discoveryv1.LabelServiceName + "=" + service,
		})
		if err != nil {
			return err
		}
		for _, slice := range slices.Items {
			for _, e := range slice.Endpoints {
				if e.TargetRef != nil && e.TargetRef.Name == pod && e.Conditions.Ready != nil && *e.Conditions.Ready == ready {
					return nil
				}
			}
		}
		return errors.New("not there yet")
	})
}
