//go:build linux

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/weirmesh/weir/test/bench/clock"
	"github.com/weirmesh/weir/test/bench/plan"
)

// Rollout is how instances give way to others.
type Rollout struct {
	Unavailable int           // at most, at a time
	Starts      time.Duration // what an instance takes to be ready, or to end
}

// Replaced tells of one instance that gave way. Times are those of clock.Now.
type Replaced struct {
	Asked int64 `json:"asked"` // before its end was written
	// Told is when a watch of EndpointSlices other than the consumer's had read that
	// it is not to be called any more; 0 where nobody is told so.
	Told int64 `json:"told"`
	// Known is when a watch of either pods or EndpointSlices had read of its end: the
	// pod is told of first.
	Known int64 `json:"known"`
}

// Upgrade has every instance of one generation (0 or 1) give way to its successor
// in the other, as a Deployment has it: the old pod is told to end, the new one is
// made, and the next follows once that is ready. It returns what became of each
// instance, by number.
func (c *Cluster) Upgrade(ctx context.Context, from int, r Rollout) ([]Replaced, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := c.watchSlices(ctx)
	if err != nil {
		return nil, err
	}
	p := c.plan
	out := make([]Replaced, p.Total())
	work := make(chan int)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for range r.Unavailable {
		wg.Go(func() {
			for i := range work {
				old, successor := i+from*p.Instances, i+(1-from)*p.Instances
				var err error
				if out[old].Asked, err = c.replace(ctx, w, old, successor, r.Starts); err != nil {
					mu.Lock()
					failed = append(failed, fmt.Errorf("replace instance %d: %w", old, err))
					mu.Unlock()
					cancel()
				}
			}
		})
	}
	for i := range p.Instances {
		select {
		case work <- i:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	if len(failed) > 0 {
		return nil, failed[0]
	}
	if err := w.await(ctx, func() bool { return len(w.state.told) == p.Instances }); err != nil {
		return nil, fmt.Errorf("wait for the EndpointSlices: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for host, at := range w.state.told {
		if i, ok := p.Index(host); ok {
			out[i].Told, out[i].Known = at, first(at, w.state.ending[host])
		}
	}
	return out, nil
}

// first returns the earlier of two moments, of which the second may be unknown.
func first(a, b int64) int64 {
	if b != 0 && b < a {
		return b
	}
	return a
}

func (c *Cluster) replace(ctx context.Context, w *slicesWatch, old, successor int, starts time.Duration) (asked int64, err error) {
	p, pods, now := c.plan, c.client.CoreV1().Pods(Namespace), metav1.Now()
	asked = clock.Now()
	// With a node and a grace, a pod is terminating until its kubelet says otherwise.
	if err := pods.Delete(ctx, PodName(p, old), metav1.DeleteOptions{GracePeriodSeconds: new(int64(30))}); err != nil {
		return asked, err
	}
	made, err := pods.Create(ctx, pod(p, successor, c.annotations[p.App(successor)], now), metav1.CreateOptions{})
	if err != nil {
		return asked, err
	}
	select {
	case <-time.After(starts):
	case <-ctx.Done():
		return asked, context.Cause(ctx)
	}
	if err := pods.Delete(ctx, PodName(p, old), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		return asked, err
	}
	made.ResourceVersion = ""
	made.Status = status(successor, metav1.Now())
	if _, err := pods.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return asked, err
	}
	host := plan.Host(successor)
	return asked, w.await(ctx, func() bool { return w.state.ready[host] > 0 })
}

// slicesWatch follows the EndpointSlices as the cluster tells of them.
type slicesWatch struct {
	mu      sync.Mutex
	state   readiness
	changed chan struct{} // closed when state changes
	err     error
}

func (c *Cluster) watchSlices(ctx context.Context) (*slicesWatch, error) {
	api := c.client.DiscoveryV1().EndpointSlices(Namespace)
	all, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	events, err := api.Watch(ctx, metav1.ListOptions{ResourceVersion: all.ResourceVersion})
	if err != nil {
		return nil, err
	}
	pods, err := c.client.CoreV1().Pods(Namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: all.ResourceVersion})
	if err != nil {
		events.Stop()
		return nil, err
	}
	w := &slicesWatch{changed: make(chan struct{}), state: newReadiness()}
	for i := range all.Items {
		w.state.take(&all.Items[i], false, 0)
	}
	go func() {
		defer pods.Stop()
		for e := range pods.ResultChan() {
			now := clock.Now()
			w.mu.Lock()
			if p, ok := e.Object.(*corev1.Pod); ok {
				w.state.end(p, now)
			}
			w.mu.Unlock()
		}
	}()
	go func() {
		defer events.Stop()
		for e := range events.ResultChan() {
			now := clock.Now()
			w.mu.Lock()
			if s, ok := e.Object.(*discoveryv1.EndpointSlice); ok {
				w.state.take(s, e.Type == watch.Deleted, now)
			}
			w.wake()
			w.mu.Unlock()
		}
		w.mu.Lock()
		w.err = errors.New("the watch of EndpointSlices ended")
		w.wake()
		w.mu.Unlock()
	}()
	return w, nil
}

// wake wakes who awaits something. mu is held.
func (w *slicesWatch) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits for something of the state.
func (w *slicesWatch) await(ctx context.Context, done func() bool) error {
	for {
		w.mu.Lock()
		ok, err, changed := done(), w.err, w.changed
		w.mu.Unlock()
		if ok {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// readiness is which addresses EndpointSlices have to be called.
type readiness struct {
	slices map[string][]string // the ready addresses of each
	ready  map[string]int      // in how many slices an address is ready
	told   map[string]int64    // when one stopped to be, in all of them
	ending map[string]int64    // when the pod of one was seen to end
}

func newReadiness() readiness {
	return readiness{slices: map[string][]string{}, ready: map[string]int{}, told: map[string]int64{}, ending: map[string]int64{}}
}

// end takes in a pod's state.
func (r *readiness) end(p *corev1.Pod, now int64) {
	if p.DeletionTimestamp != nil && r.ending[p.Status.PodIP] == 0 {
		r.ending[p.Status.PodIP] = now
	}
}

// take takes in a slice's state, or its end.
func (r *readiness) take(s *discoveryv1.EndpointSlice, gone bool, now int64) {
	var ready []string
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; !gone && e.Conditions.Ready != nil && *e.Conditions.Ready {
			ready = append(ready, e.Addresses...)
		}
	}
	for _, host := range ready {
		r.ready[host]++
		delete(r.told, host)
	}
	for _, host := range r.slices[s.Name] {
		if r.ready[host]--; r.ready[host] == 0 {
			delete(r.ready, host)
			r.told[host] = now
		}
	}
	r.slices[s.Name] = ready
}
