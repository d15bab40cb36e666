//go:build linux

// Package kubernetes makes Weir's side of a comparison: Services and pods in a
// real API server, whose EndpointSlice controller does the rest. Pods are made
// by status writes, as a kubelet would write them; no container runs.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/plan"
)

// Namespace is where everything is made. Empty is a namespace with nothing in
// it, for what a registry costs by itself.
const (
	Namespace = "weir-bench"
	Empty     = "weir-bench-empty"
)

const (
	nodes  = 10
	atOnce = 16 // writes
)

// Cluster is an administrator's hold on an API server.
type Cluster struct {
	kubeconfig string
	config     *rest.Config
	client     kubernetes.Interface
	plan       plan.Plan
	// annotations are those of each application's pods.
	annotations []string
	created     []func(context.Context) error // removes what belongs to no namespace of ours
}

// Connect returns a Cluster for an administrator's kubeconfig.
func Connect(kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 2000, 2000
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig %s: %w", kubeconfig, err)
	}
	return &Cluster{kubeconfig: kubeconfig, config: config, client: client}, nil
}

// Prepare makes the namespaces, which must not be there yet: what somebody left
// would be counted as ours. Clear removes what it and the other methods made,
// also after an error.
func (c *Cluster) Prepare(ctx context.Context, p plan.Plan) error {
	c.plan = p
	for _, name := range []string{Namespace, Empty} {
		_, err := c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("namespace %s is there already: delete it, or give an empty API server", name)
		}
		if err != nil {
			return err
		}
		if err := until(ctx, "service account default of "+name, func() (bool, error) {
			_, err := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
			return err == nil, ignoreNotFound(err)
		}); err != nil {
			return err
		}
	}
	return c.install(ctx)
}

// Fill makes the plan's Services and pods, registered as their providers would
// have, and returns once the EndpointSlices hold them all.
func (c *Cluster) Fill(ctx context.Context) error {
	p := c.plan
	var err error
	if c.annotations, err = c.offer(ctx); err != nil {
		return err
	}
	now := metav1.Now()
	for n := range nodes {
		if err := c.makeNode(ctx, n, now); err != nil {
			return fmt.Errorf("make node %s: %w", nodeName(n), err)
		}
	}
	for app := range p.Apps {
		if _, err := c.client.CoreV1().Services(Namespace).Create(ctx, service(app), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("make Service %s: %w", plan.AppName(app), err)
		}
	}
	if err := each(p.Instances, func(i int) error {
		made, err := c.client.CoreV1().Pods(Namespace).Create(ctx, pod(p, i, c.annotations[p.App(i)], now), metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("make pod %s: %w", PodName(p, i), err)
		}
		made.ResourceVersion = ""
		made.Status = status(i, now)
		if _, err := c.client.CoreV1().Pods(Namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("write status of pod %s: %w", made.Name, err)
		}
		return nil
	}); err != nil {
		return err
	}
	ready := 0
	err = until(ctx, "EndpointSlices", func() (bool, error) {
		slices, err := c.client.DiscoveryV1().EndpointSlices(Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		ready = readyEndpoints(slices.Items)
		return ready == p.Instances, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d endpoints are ready: %w", ready, p.Instances, err)
	}
	return nil
}

// KeepNodes renews the nodes' leases until ctx ends: an API server with a node
// controller would otherwise call their pods lost after a while.
func (c *Cluster) KeepNodes(ctx context.Context) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		for n := range nodes {
			c.renew(ctx, n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// renew may fail while the API server is away; the next one will do.
func (c *Cluster) renew(ctx context.Context, n int) {
	leases := c.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds, now := int32(40), metav1.NowMicro()
	spec := coordinationv1.LeaseSpec{HolderIdentity: new(nodeName(n)), LeaseDurationSeconds: &seconds, RenewTime: &now}
	lease, err := leases.Get(ctx, nodeName(n), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, _ = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: nodeName(n)}, Spec: spec}, metav1.CreateOptions{})
		return
	}
	if err == nil {
		lease.Spec = spec
		_, _ = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
}

// Change writes an instance's readiness, as its kubelet would, and tells when
// that was asked for and when the API server had taken it.
func (c *Cluster) Change(ctx context.Context, instance int, up bool) (asked, taken int64, err error) {
	word := corev1.ConditionFalse
	if up {
		word = corev1.ConditionTrue
	}
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":%q},{"type":"ContainersReady","status":%q}]}}`, word, word)
	asked = clock.Now()
	_, err = c.client.CoreV1().Pods(Namespace).Patch(ctx, PodName(c.plan, instance), types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return asked, clock.Now(), err
}

// Await returns once the API server answers.
func (c *Cluster) Await(ctx context.Context) error {
	return until(ctx, "the API server", func() (bool, error) {
		_, err := c.client.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
		return err == nil, nil
	})
}

// Clear removes everything again.
func (c *Cluster) Clear(ctx context.Context) error {
	errs := []error{c.uninstall(ctx)}
	for n := range nodes {
		errs = append(errs, ignoreNotFound(c.client.CoreV1().Nodes().Delete(ctx, nodeName(n), metav1.DeleteOptions{})))
	}
	now := int64(0)
	for _, name := range []string{Namespace, Empty} {
		// Without a kubelet only a grace of nothing removes a pod.
		errs = append(errs, c.client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
			ignoreNotFound(c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})))
	}
	return errors.Join(errs...)
}

func (c *Cluster) makeNode(ctx context.Context, n int, now metav1.Time) error {
	made, err := c.client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name:   nodeName(n),
		Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", n%3), corev1.LabelHostname: nodeName(n)},
	}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.ResourceVersion = "" // whoever has touched it since, this is its status
	made.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "KubeletReady"}}
	_, err = c.client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

func nodeName(n int) string { return fmt.Sprintf("weir-bench-node-%d", n) }

func service(app int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: plan.AppName(app), Labels: map[string]string{"app": plan.AppName(app)}},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": plan.AppName(app)},
			Ports:    []corev1.ServicePort{{Name: plan.Protocol, Port: plan.Port, TargetPort: intstr.FromInt32(plan.Port)}},
		},
	}
}

func readyEndpoints(slices []discoveryv1.EndpointSlice) int {
	n := 0
	for _, s := range slices {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				n++
			}
		}
	}
	return n
}

// each calls f for 0 to n-1, several at a time, and returns the first error.
func each(n int, f func(int) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	failed := make(chan struct{})
	next := make(chan int)
	for range min(atOnce, n) {
		wg.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					once.Do(func() { first = err; close(failed) })
					return
				}
			}
		})
	}
	func() {
		defer close(next)
		for i := range n {
			select {
			case next <- i:
			case <-failed:
				return
			}
		}
	}()
	wg.Wait()
	return first
}

// until asks again and again, since what it waits for is made by controllers.
func until(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
