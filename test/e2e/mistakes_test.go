package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weirmesh/weir/test/mesh"
)

// program is a pod of one of the shop's programs, as a user would write it.
func program(name, app string, args ...string) *corev1.Pod {
	from := func(variable, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: variable, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop"}},
		Spec: corev1.PodSpec{
			ServiceAccountName: app,
			RestartPolicy:      corev1.RestartPolicyNever,
			// The shop's namespace takes restricted pods only.
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(65532)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: app, Image: "shop.example/" + app + ":dev", ImagePullPolicy: corev1.PullNever, Args: args, WorkingDir: "/tmp",
				Env: []corev1.EnvVar{from("POD_NAME", "metadata.name"), from("POD_NAMESPACE", "metadata.namespace"),
					from("POD_UID", "metadata.uid"), from("POD_IP", "status.podIP")},
				Ports: []corev1.ContainerPort{{Name: "dubbo", ContainerPort: 20000}, {Name: "admin", ContainerPort: adminPort}},
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromString("admin")},
				}},
				VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(false),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			Volumes:                       []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			TerminationGracePeriodSeconds: new(int64),
		},
	}
}

// tenant is a namespace with the ServiceAccounts of the shop and no rights.
func (s *shop) tenant(name string) string {
	s.t.Helper()
	ctx := s.t.Context()
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			s.t.Error(err)
		}
	})
	for _, account := range []string{"inventory", "orders"} {
		sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}
		if _, err := s.client.CoreV1().ServiceAccounts(name).Create(ctx, sa, metav1.CreateOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
	return name
}

func (s *shop) bind(namespace, account, role string) {
	s.t.Helper()
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: account + "-" + role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: namespace}},
	}
	if _, err := s.client.RbacV1().RoleBindings(namespace).Create(s.t.Context(), binding, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) serve(namespace, app string) {
	s.t.Helper()
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app.kubernetes.io/name": app},
			Ports: []corev1.ServicePort{{Port: 20000}}},
	}
	if _, err := s.client.CoreV1().Services(namespace).Create(s.t.Context(), service, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) run(namespace string, pod *corev1.Pod) {
	s.t.Helper()
	// A ServiceAccount may be a moment older than what admission knows of it.
	mesh.Eventually(s.t, "pod "+pod.Name+" is taken", func() error {
		_, err := s.client.CoreV1().Pods(namespace).Create(s.t.Context(), pod, metav1.CreateOptions{})
		if err != nil && !strings.Contains(err.Error(), "serviceaccount") {
			err = mesh.Fatal(err)
		}
		return err
	})
}

// says waits until a pod's log holds a text.
func (s *shop) says(namespace, pod, text string) {
	s.t.Helper()
	mesh.Eventually(s.t, fmt.Sprintf("%s/%s says %q", namespace, pod, text), func() error {
		log, err := s.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(s.t.Context())
		if err == nil && !strings.Contains(string(log), text) {
			err = fmt.Errorf("it says\n%s", log)
		}
		return err
	})
}

func TestProviderWithoutServiceSaysSo(t *testing.T) {
	s := openShop(t)
	ns := s.tenant("e2e-lonely")
	s.bind(ns, "inventory", "weir-provider")
	s.bind(ns, "inventory", "weir-consumer")
	s.run(ns, program("inventory", "inventory"))
	s.says(ns, "inventory", "application e2e-lonely/inventory has no Service")
	s.says(ns, "inventory", "docs/registry.md#service")
}

func TestMissingRightsSayWhichRoleToBind(t *testing.T) {
	s := openShop(t)
	ns := s.tenant("e2e-powerless")
	s.serve(ns, "inventory")
	s.serve(ns, "orders")
	s.run(ns, program("inventory", "inventory"))
	s.says(ns, "inventory", "bind ClusterRole weir-provider to")
	s.says(ns, "inventory", "ServiceAccount e2e-powerless/inventory")
	s.bind(ns, "orders", "weir-provider")
	s.run(ns, program("orders", "orders"))
	s.says(ns, "orders", "ServiceAccount e2e-powerless/orders may not")
	s.says(ns, "orders", "bind ClusterRole weir-consumer")
}

// An annotation that somebody broke takes out its own pod, not the others; the
// consumer's log and the CLI say which.
func TestBrokenAnnotationIsNamedAndHarmsNobody(t *testing.T) {
	s := openShop(t)
	load, orders := s.one("load"), s.one("orders")
	before := s.placed(load, 20)
	pod := program("inventory-broken", "inventory", "-registry", "direct", "-listen", "0.0.0.0:20000")
	pod.Annotations = map[string]string{"io.dubbo/metadata": `{"dubbo.endpoints": [`}
	s.run(namespace, pod)
	t.Cleanup(func() {
		ctx := context.Background()
		if err := s.client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		err := mesh.Wait("the broken pod is gone", func() error {
			_, err := s.client.CoreV1().Pods(namespace).Get(ctx, pod.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w", err)
		})
		if err != nil {
			t.Error(err)
		}
	})
	mesh.Eventually(t, "weir registry get names the broken pod", func() error {
		if got := theMesh.Registry(t, "get", "shop/inventory"); !strings.Contains(got, pod.Name) || !strings.Contains(got, "its annotation io.dubbo/metadata cannot be read") {
			return fmt.Errorf("it shows\n%s", got)
		}
		return nil
	})
	s.says(namespace, orders.Name, "its annotation io.dubbo/metadata cannot be read")
	for _, address := range s.stats(orders).Providers[inventory].Current {
		if p, err := s.client.CoreV1().Pods(namespace).Get(t.Context(), pod.Name, metav1.GetOptions{}); err != nil || strings.HasPrefix(address, p.Status.PodIP+":") {
			t.Errorf("orders would call the broken pod at %s (%v)", address, err)
		}
	}
	s.unharmed(load, before)
}

func TestCommandsSayWhatIsWrongWithTheCluster(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := nobody.Addr().String()
	nobody.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ kubeconfig, want string }{
		"no such file":     {filepath.Join(dir, "none"), "does not exist"},
		"not a kubeconfig": {write("text", "hello: [world"), "is no kubeconfig"},
		"nobody there": {write("away", `{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: a, cluster: {server: "https://`+away+
			`"}}], contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}`), "cannot reach the Kubernetes API server at"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range [][]string{
				{"registry", "list", "--timeout", "2s", "--kubeconfig", c.kubeconfig},
				{"up", "--data-dir", filepath.Join(dir, "data"), "--admin-listen", "127.0.0.1:0", "--kubeconfig", c.kubeconfig},
			} {
				out, errs, err := theMesh.Weir(t.Context(), command...)
				if err == nil {
					t.Fatalf("weir %s did not mind:\n%s%s", strings.Join(command, " "), out, errs)
				}
				if lines := strings.Split(strings.TrimSpace(errs), "\n"); !strings.Contains(lines[len(lines)-1], c.want) || strings.Contains(errs, ".go:") {
					t.Errorf("weir %s says\n%s%s\nwant a last line with %q", strings.Join(command, " "), out, errs, c.want)
				}
			}
		})
	}
}
