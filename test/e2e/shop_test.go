package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/weirmesh/weir/test/mesh"
)

const (
	namespace = "shop"
	adminPort = 8081
	inventory = "org.example.shop.InventoryService"
)

// stats is what the tests read of a shop process's /stats.
type stats struct {
	Instance  string                  `json:"instance"`
	Started   time.Time               `json:"started"`
	Made      calls                   `json:"made"`
	Served    calls                   `json:"served"`
	Attempts  calls                   `json:"attempts"`
	Providers map[string]providerList `json:"providers"`
	Load      struct {
		Rate, Target float64
		Shed         int64
	} `json:"load"`
}

type calls struct {
	OK       int64            `json:"ok"`
	Failed   int64            `json:"failed"`
	InFlight int64            `json:"inFlight"`
	ByClass  map[string]int64 `json:"byClass"`
	ByMethod map[string]struct {
		OK int64 `json:"ok"`
	} `json:"byMethod"`
	Failures []failure `json:"failures"`
}

type failure struct {
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Class    string    `json:"class"`
	Address  string    `json:"address"`
	Instance string    `json:"instance"`
	Via      string    `json:"via"`
	Error    string    `json:"error"`
}

type providerList struct {
	Current []string `json:"current"`
	Changes []struct {
		Time      time.Time `json:"time"`
		Providers []string  `json:"providers"`
	} `json:"changes"`
}

// lost returns when the list had become empty after it had held somebody. Before
// the first provider is up, empty is the truth.
func (l providerList) lost() (times []time.Time) {
	filled := false
	for _, c := range l.Changes {
		if filled && len(c.Providers) == 0 {
			times = append(times, c.Time)
		}
		filled = filled || len(c.Providers) > 0
	}
	return times
}

// shop is the example shop as a test sees it.
type shop struct {
	t      *testing.T
	client *kubernetes.Clientset
}

func openShop(t *testing.T) *shop {
	t.Helper()
	return &shop{t: t, client: theMesh.Client(t)}
}

// pods returns the pods of a deployment that are not going away.
func (s *shop) pods(app string) ([]corev1.Pod, error) {
	list, err := s.client.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// one returns the only pod of a deployment.
func (s *shop) one(app string) corev1.Pod {
	s.t.Helper()
	var pod corev1.Pod
	mesh.Eventually(s.t, "there is one pod of "+app, func() error {
		pods, err := s.pods(app)
		if err != nil {
			return err
		}
		if len(pods) != 1 || !ready(&pods[0]) {
			return fmt.Errorf("%d pods, or not ready", len(pods))
		}
		pod = pods[0]
		return nil
	})
	return pod
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func adminOf(pod corev1.Pod) string {
	return net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(adminPort))
}

// read asks a pod for its counts, straight from this host.
func (s *shop) read(pod corev1.Pod) (stats, error) {
	var st stats
	err := mesh.GetJSON(s.t.Context(), "http://"+adminOf(pod)+"/stats", &st)
	return st, err
}

func (s *shop) stats(pod corev1.Pod) stats {
	s.t.Helper()
	var st stats
	mesh.Eventually(s.t, pod.Name+" tells its counts", func() (err error) {
		st, err = s.read(pod)
		return err
	})
	return st
}

// placed waits until load has placed n more orders and returns its counts.
func (s *shop) placed(load corev1.Pod, n int64) stats {
	s.t.Helper()
	before := s.stats(load).Made.OK
	var st stats
	mesh.Eventually(s.t, fmt.Sprintf("%d more orders are placed", n), func() (err error) {
		if st, err = s.read(load); err == nil && st.Made.OK < before+n {
			err = fmt.Errorf("%d of %d, failed: %v", st.Made.OK-before, n, st.Made.ByClass)
		}
		return err
	})
	return st
}

// scale sets the replicas of a deployment and waits for the pods to be ready.
func (s *shop) scale(app string, replicas int) {
	s.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	if _, err := s.client.AppsV1().Deployments(namespace).Patch(s.t.Context(), app, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.rolledOut(app)
}

// restart does what kubectl rollout restart does, and waits for its end.
func (s *shop) restart(app string) {
	s.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))
	if _, err := s.client.AppsV1().Deployments(namespace).Patch(s.t.Context(), app, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.rolledOut(app)
}

// rolledOut waits until a deployment has exactly the pods that it should have,
// all of them new, ready, and the others gone.
func (s *shop) rolledOut(app string) {
	s.t.Helper()
	mesh.Eventually(s.t, app+" is rolled out", func() error {
		d, err := s.client.AppsV1().Deployments(namespace).Get(s.t.Context(), app, metav1.GetOptions{})
		if err != nil {
			return err
		}
		all, err := s.client.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
		if err != nil {
			return err
		}
		if st, want := d.Status, *d.Spec.Replicas; st.ObservedGeneration < d.Generation || st.UpdatedReplicas != want ||
			st.ReadyReplicas != want || st.Replicas != want || len(all.Items) != int(want) {
			return fmt.Errorf("want %d: %d updated, %d ready, %d in all, %d pods", want, st.UpdatedReplicas, st.ReadyReplicas, st.Replicas, len(all.Items))
		}
		return nil
	})
}

// follows waits until orders' own list of inventory is exactly the ready pods.
func (s *shop) follows() stats {
	s.t.Helper()
	orders := s.one("orders")
	var st stats
	mesh.Eventually(s.t, "orders' list of inventory is the ready pods", func() error {
		pods, err := s.pods("inventory")
		if err != nil {
			return err
		}
		var want []string
		for i := range pods {
			if ready(&pods[i]) {
				want = append(want, fmt.Sprintf("%s:20000", pods[i].Status.PodIP))
			}
		}
		slices.Sort(want)
		if st, err = s.read(orders); err != nil {
			return err
		}
		if got := st.Providers[inventory].Current; !slices.Equal(got, want) {
			return fmt.Errorf("it is %v, the pods are %v", got, want)
		}
		return nil
	})
	if lost := st.Providers[inventory].lost(); len(lost) != 0 {
		s.t.Errorf("orders' list of inventory was empty at %v", lost)
	}
	return st
}

// unharmed fails the test if an order failed since before was read.
func (s *shop) unharmed(load corev1.Pod, before stats) {
	s.t.Helper()
	after := s.placed(load, 40)
	if failed := after.Made.Failed - before.Made.Failed; failed != 0 {
		s.t.Errorf("%d orders failed: %v", failed, newer(after.Made.Failures, before))
	}
	if shed := after.Load.Shed - before.Load.Shed; shed != 0 {
		s.t.Errorf("%d orders could not be placed in time", shed)
	}
}

// newer returns the failures that are not among those counted before.
func newer(all []failure, before stats) []failure {
	var last time.Time
	for _, f := range before.Made.Failures {
		if f.Ended.After(last) {
			last = f.Ended
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(f failure) bool { return !f.Ended.After(last) })
}

// died returns a moment by which the pod's process was provably gone: the first
// at which it did not answer any more.
func died(ctx context.Context, pod corev1.Pod) time.Time {
	client := &http.Client{Timeout: 250 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + adminOf(pod) + "/livez"
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			break
		}
		resp, err := client.Do(req)
		if err != nil {
			break
		}
		resp.Body.Close()
	}
	return time.Now()
}
