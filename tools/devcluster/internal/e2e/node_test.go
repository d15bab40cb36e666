package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/weirmesh/weir/tools/devcluster/internal/cgroup"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
	"github.com/weirmesh/weir/tools/devcluster/internal/image"
	"github.com/weirmesh/weir/tools/devcluster/internal/preflight"
)

// app builds what the pods run.
func app(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app")
	c := exec.Command("go", "build", "-o", out, "./cmd/app")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// workload is the test's deployment in one cluster.
type workload struct {
	*up
	cluster.Event
	k  kubernetes.Interface
	ip string
}

func deploy(t *testing.T, u *up) workload {
	t.Helper()
	ready, _ := u.ready(t)
	w := workload{up: u, Event: ready, k: client(t, restConfig(t, ready.Kubeconfig))}
	if _, err := w.k.AppsV1().Deployments("default").Create(t.Context(), deployment(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc, err := w.k.CoreV1().Services("default").Create(t.Context(), service(), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.ip = svc.Spec.ClusterIP
	return w
}

// pods waits until the deployment's pods are ready, as endpoints too, and
// returns them.
func (w workload) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods []corev1.Pod
	eventually(t, "two ready pods", func(ctx context.Context) error {
		list, err := w.k.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=app"})
		if err != nil {
			return err
		}
		endpoints, err := w.readyEndpoints(ctx)
		if err != nil {
			return err
		}
		pods = list.Items
		var ips []string
		for _, p := range pods {
			ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			})
			if !ready {
				return fmt.Errorf("pod %s is not ready: %s %s", p.Name, p.Status.Phase, waiting(p))
			}
			ips = append(ips, p.Status.PodIP)
		}
		slices.Sort(ips)
		if len(pods) != 2 || !slices.Equal(ips, endpoints) {
			return fmt.Errorf("%d pods at %v, ready endpoints at %v", len(pods), ips, endpoints)
		}
		return nil
	})
	return pods
}

func waiting(p corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			return c.State.Waiting.Reason + " " + c.State.Waiting.Message
		}
	}
	return ""
}

func (w workload) readyEndpoints(ctx context.Context) ([]string, error) {
	list, err := w.k.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=app"})
	if err != nil {
		return nil, err
	}
	var ready []string
	for _, s := range list.Items {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready {
				ready = append(ready, e.Addresses...)
			}
		}
	}
	slices.Sort(ready)
	return ready, nil
}

// ask asks one of the pods to do something for the test.
func ask(ctx context.Context, pod corev1.Pod, path, key, value string) (string, error) {
	return get(ctx, "http://"+pod.Status.PodIP+":8080"+path+"?"+url.Values{key: {value}}.Encode())
}

func TestNode(t *testing.T) { //nolint:tparallel // the subtests are steps
	t.Parallel()
	if err := preflight.Root(); err != nil {
		t.Skipf("NOT TESTED, no node can be run here: %v", err)
	}
	if _, err := preflight.FindTools(binary(t), config.ProxyIPTables); err != nil {
		t.Skipf("NOT TESTED, no node can be run here: %v", err)
	}
	load := appImage + "=" + app(t)
	dirA, dirB := t.TempDir(), t.TempDir()
	// Two at once, from the beginning.
	upA, upB := start(t, nil, dirA, "--load-image", load), start(t, nil, dirB, "--load-image", load)
	a, b := deploy(t, upA), deploy(t, upB)
	podsA, podsB := a.pods(t), b.pods(t)

	if a.Slot == b.Slot {
		t.Errorf("both clusters have slot %d", a.Slot)
	}
	t.Run("network", func(t *testing.T) { testNetwork(t, a, podsA) })
	t.Run("images", func(t *testing.T) { testImages(t, a, load) })
	t.Run("logs", func(t *testing.T) { testKubelet(t, a, podsA[0]) })
	t.Run("faults", func(t *testing.T) { testFaults(t, a) })
	t.Run("killed and begun again", func(t *testing.T) { a = testKill(t, a, podsA, load) })

	// All that befell a left b alone.
	for i, p := range b.pods(t) {
		if p.UID != podsB[i].UID || p.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("pod %s of the other cluster was restarted", p.Name)
		}
	}
	for _, w := range []workload{a, b} {
		if _, err := devcluster(t, "down", "--dir", w.dir, "--purge"); err != nil {
			t.Fatal(err)
		}
		<-w.done
		if w.err != nil {
			t.Errorf("up ended with %v: %s", w.err, w.stderr.String())
		}
		clean(t, w)
		if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after --purge: got %v, want no directory", err)
		}
	}
}

func testNetwork(t *testing.T, w workload, pods []corev1.Pod) {
	t.Helper()
	ctx := t.Context()
	names := []string{pods[0].Name, pods[1].Name}
	// kube-proxy learns of endpoints a moment after the API server.
	eventually(t, "the ClusterIP leads to every pod, from the host and from a pod", func(ctx context.Context) error {
		seen := map[string]bool{}
		for range 20 {
			name, err := get(ctx, "http://"+w.ip+"/hostname")
			if err != nil {
				return err
			}
			seen[name] = true
			// Sometimes this leads the pod to itself.
			if name, err = ask(ctx, pods[0], "/fetch", "url", "http://"+w.ip+"/hostname"); err != nil {
				return err
			}
			if !slices.Contains(names, name) {
				return fmt.Errorf("got %q, want one of %v", name, names)
			}
		}
		if !seen[names[0]] || !seen[names[1]] {
			return fmt.Errorf("only %v answered", seen)
		}
		return nil
	})
	for _, p := range pods {
		if got, err := get(ctx, "http://"+p.Status.PodIP+":8080/hostname"); got != p.Name {
			t.Errorf("from the host to pod %s: got %q, %v", p.Name, got, err)
		}
	}
	for name, want := range map[string]string{
		"app": w.ip, "app.default": w.ip, "app.default.svc.cluster.local": w.ip,
		"kubernetes.default.svc": w.APIServiceIP.String(),
	} {
		if got, err := ask(ctx, pods[0], "/lookup", "name", name); got != want {
			t.Errorf("%s resolves to %q, %v; want %s", name, got, err, want)
		}
	}
	if got, err := ask(ctx, pods[0], "/lookup", "name", "example.com"); err == nil {
		t.Errorf("an external name resolves to %s", got)
	}
	if got, err := ask(ctx, pods[0], "/fetch", "url", "http://app/hostname"); !slices.Contains(names, got) {
		t.Errorf("by name: got %q, %v", got, err)
	}
	// The host as pods see it.
	l, err := net.Listen("tcp", net.JoinHostPort(w.HostIP.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(rw, host)
	})}
	go server.Serve(l)
	defer server.Close()
	if got, err := ask(ctx, pods[0], "/fetch", "url", "http://"+l.Addr().String()); got != pods[0].Status.PodIP {
		t.Errorf("a pod's call to the host came from %q, %v; want %s", got, err, pods[0].Status.PodIP)
	}
}

func testImages(t *testing.T, w workload, nameAndPath string) {
	t.Helper()
	name, path, _ := strings.Cut(nameAndPath, "=")
	if out, err := devcluster(t, "load-image", name, "--dir", w.dir, "--binary", path); err != nil || !strings.HasPrefix(out, "unchanged ") {
		t.Errorf("the same image again: got %q, %v", out, err)
	}
	if out, err := devcluster(t, "load-image", name, "--dir", w.dir, "--binary", path, "--entrypoint", "/app,-x"); err != nil || !strings.HasPrefix(out, "loaded ") {
		t.Errorf("another image of that name: got %q, %v", out, err)
	}
	if out, err := devcluster(t, "load-image", name, "--dir", w.dir, "--binary", path); err != nil || !strings.HasPrefix(out, "loaded ") {
		t.Errorf("the first image once more: got %q, %v", out, err)
	}
	// An archive that some other tool made, under a name of our choosing.
	const other = "devcluster.test/archive:v1"
	archive, err := image.New("elsewhere.test/app:v7", image.Build{Binary: path})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if out, err := devcluster(t, "load-image", other, "--dir", w.dir, "--tar", file); err != nil || !strings.HasPrefix(out, "loaded ") {
		t.Errorf("an archive: got %q, %v", out, err)
	}
	pods := w.k.CoreV1().Pods("default")
	_, err = pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "archive"},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64),
			Containers:                    []corev1.Container{{Name: "app", Image: other, ImagePullPolicy: corev1.PullNever}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pod of the archive's image", func(ctx context.Context) error {
		p, err := pods.Get(ctx, "archive", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodRunning {
			return errors.New(waiting(*p))
		}
		_, err = get(ctx, "http://"+p.Status.PodIP+":8080/readyz")
		return err
	})
	if err := pods.Delete(t.Context(), "archive", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", func(ctx context.Context) error {
		_, err := pods.Get(ctx, "archive", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is still there"))
	})
}

func testKubelet(t *testing.T, w workload, pod corev1.Pod) {
	t.Helper()
	log, err := w.k.CoreV1().Pods("default").GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil || !strings.Contains(string(log), "listening") {
		t.Errorf("the pod's log is %q, %v", log, err)
	}
}

func testFaults(t *testing.T, w workload) {
	t.Helper()
	st := w.status(t)
	if !st.Ready || st.Processes < 8 || st.Memory < 100<<20 {
		t.Errorf("unexpected status %+v", st)
	}
	for _, f := range []struct {
		name string
		part cluster.Part
	}{{"dns", cluster.PartDNS}, {"kubelet", cluster.PartNode}, {"containerd", cluster.PartNode}} {
		w.mu.Lock()
		next := len(w.events)
		w.mu.Unlock()
		if _, err := devcluster(t, "fault", f.name, "--dir", w.dir, "--for", "100ms"); err != nil {
			t.Fatal(err)
		}
		_, next = w.wait(t, next, f.part, cluster.Failed)
		w.wait(t, next, cluster.PartCluster, cluster.Ready)
	}
	// Pods outlive all of these.
	for _, p := range w.pods(t) {
		if p.Status.ContainerStatuses[0].RestartCount != 0 {
			t.Errorf("pod %s was restarted", p.Name)
		}
	}
}

// testKill kills the supervisor and returns the cluster brought up again.
func testKill(t *testing.T, w workload, pods []corev1.Pod, load string) workload {
	t.Helper()
	st := w.status(t)
	w.signal(syscall.SIGKILL)
	<-w.done
	gone(t, []int{st.Containerd.NodePID})
	again := start(t, nil, w.dir, "--load-image", load)
	ready, _ := again.ready(t)
	if ready.Slot != w.Slot || ready.Server != w.Server {
		t.Errorf("slot %d at %s, want %d at %s", ready.Slot, ready.Server, w.Slot, w.Server)
	}
	w.up, w.Event = again, ready
	back := w.pods(t)
	for i, p := range back {
		if p.UID != pods[i].UID || p.Status.ContainerStatuses[0].RestartCount != 1 {
			t.Errorf("pod %s is another, or was restarted %d times", p.Name, p.Status.ContainerStatuses[0].RestartCount)
		}
	}
	// Yesterday's addresses were given back.
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root/run/cni/weir", w.status(t).Containerd.NodePID))
	if err != nil {
		t.Fatal(err)
	}
	var leased []string
	for _, e := range entries {
		if net.ParseIP(e.Name()) != nil {
			leased = append(leased, e.Name())
		}
	}
	if len(leased) != len(back) {
		t.Errorf("%v are leased for %d pods", leased, len(back))
	}
	testNetwork(t, w, back)
	return w
}

// clean checks that nothing of the cluster is left outside its directory.
func clean(t *testing.T, w workload) {
	t.Helper()
	if _, err := net.InterfaceByName(w.Link); err == nil {
		t.Errorf("the interface %s is left", w.Link)
	}
	tree, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if left := tree.Groups(cluster.Dir(w.dir).ID()); len(left) > 0 {
		t.Errorf("the cgroups %v are left", left)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), w.dir) {
		t.Error("mounts are left")
	}
}
