package servicemode

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weirmesh/weir/test/mesh"
)

const (
	namespace = "spread"
	image     = "servicemode.example/process:test"
)

// cluster is a node of its own with Weir's definitions and the two applications.
type cluster struct {
	t      *testing.T
	client *kubernetes.Clientset
}

// program returns a program that make build has built.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v; run make build first", err)
	}
	return path
}

func start(t *testing.T, proxyMode string) *cluster {
	t.Helper()
	devcluster := program(t, "devcluster")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// In /var/tmp, since images are unpacked in it and /tmp may be in memory.
	dir, err := os.MkdirTemp("/var/tmp", "weir-servicemode-") //nolint:usetesting // not just anywhere
	if err != nil {
		t.Fatal(err)
	}
	up := exec.Command(devcluster, "up", "--dir", filepath.Join(dir, "cluster"), "--with-parent", "--proxy-mode", proxyMode,
		"--load-image", image+"="+self, "--output", "json")
	up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	up.Stderr = os.Stderr
	out, err := up.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		_ = up.Wait() // what it has to say it has said
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	kubeconfig := ""
	lines := bufio.NewScanner(out)
	for kubeconfig == "" && lines.Scan() {
		var event struct{ Part, State, Detail, Kubeconfig string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if event.State == "failed" {
			t.Fatalf("the cluster's %s failed: %s", event.Part, event.Detail)
		}
		if event.Part == "cluster" && event.State == "ready" {
			kubeconfig = event.Kubeconfig
		}
	}
	if kubeconfig == "" {
		t.Fatal("the cluster ended before it was ready")
	}
	go func() { // so that it never waits for its reader
		for lines.Scan() {
		}
	}()

	manifests, err := exec.Command(program(t, "weir"), "manifests").Output()
	if err != nil {
		t.Fatal(err)
	}
	apply := exec.Command(devcluster, "kubectl", "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", "-")
	apply.Stdin = strings.NewReader(string(manifests))
	if said, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	c := &cluster{t: t, client: kubernetes.NewForConfigOrDie(cfg)}
	c.furnish()
	return c
}

// furnish makes everything but pods.
func (c *cluster) furnish() {
	t, ctx := c.t, c.t.Context()
	made := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	made(c.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}))
	for account, role := range map[string]string{echo: "weir-provider", "caller": "weir-consumer"} {
		made(c.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{}))
		made(c.client.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: account},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: namespace}},
		}, metav1.CreateOptions{}))
	}
	for _, name := range []string{echo, direct} {
		made(c.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"weirmesh.io/call-mode": "service"}},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": echo}, Ports: []corev1.ServicePort{
				{Name: "dubbo", Port: dubboPort, TargetPort: intstr.FromInt32(dubboPort)},
				{Name: "tri", Port: triplePort, TargetPort: intstr.FromInt32(triplePort)},
			}},
		}, metav1.CreateOptions{}))
	}
	for app, role := range map[string]string{echo: "provider", "caller": "consumer"} {
		made(c.client.AppsV1().Deployments(namespace).Create(ctx, deployment(app, role), metav1.CreateOptions{}))
	}
}

func deployment(app, role string) *appsv1.Deployment {
	env := []corev1.EnvVar{{Name: roleEnv, Value: role}}
	for name, field := range map[string]string{
		"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid", "POD_IP": "status.podIP",
	} {
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}})
	}
	labels := map[string]string{"app": app}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(0)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					ServiceAccountName: app,
					Containers: []corev1.Container{{
						Name: role, Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Env: env,
						WorkingDir: "/tmp", // dubbo-go keeps files where it runs
						ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
							HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(adminPort)},
						}},
						VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
					}},
					Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
				},
			},
		},
	}
}

// scale sets how many pods an application has, waits until it has them and no
// others, all ready, and returns them.
func (c *cluster) scale(app string, replicas int) []corev1.Pod {
	c.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
	if _, err := c.client.AppsV1().Deployments(namespace).Patch(c.t.Context(), app, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
	var pods []corev1.Pod
	mesh.Eventually(c.t, fmt.Sprintf("%s has %d pods", app, replicas), func() error {
		list, err := c.client.CoreV1().Pods(namespace).List(c.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
		if err != nil {
			return err
		}
		pods = list.Items
		ready := 0
		for i := range pods {
			if slices.ContainsFunc(pods[i].Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				ready++
			}
		}
		if len(pods) != replicas || ready != replicas {
			return fmt.Errorf("there are %d, %d of them ready", len(pods), ready)
		}
		return nil
	})
	return pods
}

// service returns a Service's address.
func (c *cluster) service(name string) string {
	c.t.Helper()
	s, err := c.client.CoreV1().Services(namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return s.Spec.ClusterIP
}
