// Package e2e tests the program as its users run it.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

// nobody is who the control plane runs as here, to show that it needs no root.
const nobody = 65534

// unprivilegedDir returns a directory of a user without rights, and that user
// if this process is not such a one itself.
func unprivilegedDir(t *testing.T) (string, *syscall.Credential) {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		return dir, nil
	}
	// The test's own directory lies in one that only root may pass through.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.Credential{Uid: nobody, Gid: nobody}
}

func TestControlPlaneOnly(t *testing.T) { //nolint:tparallel // the subtests are steps
	t.Parallel()
	// A name so long that no unix socket fits below it.
	base, credential := unprivilegedDir(t)
	dir := filepath.Join(base, strings.Repeat("long", 30))
	u := start(t, credential, dir, "--control-plane-only", "--name", "alone")
	ready, next := u.ready(t)
	if ready.Mode != cluster.ControlPlaneOnly || ready.Name != "alone" || ready.Version == "" {
		t.Errorf("unexpected summary %+v", ready.Summary)
	}
	st, err := os.Stat(ready.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig has mode %v", st.Mode())
	}
	config := restConfig(t, ready.Kubeconfig)
	k := client(t, config)
	version, err := k.Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.GitVersion != ready.Version {
		t.Errorf("the server is %s, up said %s", version.GitVersion, ready.Version)
	}
	keep := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "keep"}, Data: map[string]string{"k": "v"}}
	if _, err := k.CoreV1().ConfigMaps("default").Create(t.Context(), keep, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	t.Run("a user may do what RBAC says", func(t *testing.T) { testUser(t, dir) })
	t.Run("a pod's token names the pod to admission policies", func(t *testing.T) { testPolicy(t, config, k) })
	t.Run("a second up says who runs", func(t *testing.T) {
		_, err := devcluster(t, "up", "--dir", dir, "--control-plane-only")
		if err == nil || !strings.Contains(err.Error(), strconv.Itoa(u.cmd.Process.Pid)) {
			t.Errorf("got %v, want the pid %d", err, u.cmd.Process.Pid)
		}
	})
	t.Run("a taken port is told", func(t *testing.T) {
		port := strings.TrimPrefix(ready.Server, "https://127.0.0.1:")
		_, err := devcluster(t, "up", "--dir", t.TempDir(), "--control-plane-only", "--port", port)
		if err == nil || !strings.Contains(err.Error(), "--port") {
			t.Errorf("got %v, want an error that names --port", err)
		}
	})

	if _, err := devcluster(t, "fault", "apiserver", "--dir", dir, "--for", "1s"); err != nil {
		t.Fatal(err)
	}
	failed, next := u.wait(t, next, cluster.PartControlPlane, cluster.Failed)
	if !strings.Contains(failed.Detail, "SIGKILL") || !strings.Contains(failed.Detail, "held down") {
		t.Errorf("got %q", failed.Detail)
	}
	if l, err := net.Listen("tcp", strings.TrimPrefix(ready.Server, "https://")); err == nil {
		l.Close()
		t.Error("the port is free to take while the API server is down")
	}
	u.wait(t, next, cluster.PartCluster, cluster.Ready)
	kept(t, k)

	// Everything at once, as a power switch would.
	pids := running(t, u)
	u.signal(syscall.SIGKILL)
	<-u.done
	gone(t, pids)
	u = start(t, credential, dir, "--control-plane-only")
	again, _ := u.ready(t)
	if again.Server != ready.Server || again.Name != "alone" {
		t.Errorf("after a restart the server is %s and named %s, want %s and alone: kubeconfigs in use would be void", again.Server, again.Name, ready.Server)
	}
	kept(t, k)

	pids = running(t, u)
	if out, err := devcluster(t, "down", "--dir", dir, "--purge"); err != nil || !strings.Contains(out, "stopped") {
		t.Fatalf("down: %s, %v", out, err)
	}
	<-u.done
	if u.err != nil {
		t.Errorf("up ended with %v: %s", u.err, u.stderr.String())
	}
	gone(t, pids)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after --purge: got %v, want no directory", err)
	}
}

func kept(t *testing.T, k kubernetes.Interface) {
	t.Helper()
	c, err := k.CoreV1().ConfigMaps("default").Get(t.Context(), "keep", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Data["k"] != "v" {
		t.Errorf("the object is %v", c.Data)
	}
}

// running returns all process numbers of a cluster without a node.
func running(t *testing.T, u *up) []int {
	t.Helper()
	pids := []int{u.cmd.Process.Pid}
	for _, p := range u.status(t).Parts {
		for _, m := range p.Processes {
			pids = append(pids, m.PID)
		}
	}
	if len(pids) < 2 {
		t.Fatal("no process but the first")
	}
	return pids
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d is still there", pid), func(context.Context) error {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			// A dead process may wait for whoever adopted it.
			if err == nil && !strings.Contains(string(b), ") Z ") {
				return errors.New(string(b))
			}
			return nil
		})
	}
}

func testUser(t *testing.T, dir string) {
	t.Helper()
	out, err := devcluster(t, "kubeconfig", "--dir", dir, "--user", "ann", "--group", "dev")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ann")
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	ann := client(t, restConfig(t, path))
	who, err := ann.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if who.Status.UserInfo.Username != "ann" || who.Status.UserInfo.Groups[0] != "dev" {
		t.Errorf("the API server sees %+v", who.Status.UserInfo)
	}
	if _, err := ann.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a binding: got %v", err)
	}
}

// testPolicy shows that a ValidatingAdmissionPolicy can tie a pod's token to
// the pod: what Weir's own policies rest on.
func testPolicy(t *testing.T, config *rest.Config, k kubernetes.Interface) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	pod, err := k.CoreV1().Pods("default").Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}, metav1.CreateOptions{})
	must(err)
	token, err := k.CoreV1().ServiceAccounts("default").CreateToken(ctx, "default", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}},
	}, metav1.CreateOptions{})
	must(err)
	_, err = k.RbacV1().Roles("default").Create(ctx, role("cm"), metav1.CreateOptions{})
	must(err)
	_, err = k.RbacV1().RoleBindings("default").Create(ctx, binding("cm"), metav1.CreateOptions{})
	must(err)
	fail := admissionv1.Fail
	_, err = k.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "own-name"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
				},
			}}},
			MatchConditions: []admissionv1.MatchCondition{{Name: "workloads", Expression: `request.userInfo.username == "system:serviceaccount:default:default"`}},
			Validations: []admissionv1.Validation{{
				Expression: `request.userInfo.extra["authentication.kubernetes.io/pod-name"][0] == object.metadata.name`,
				Message:    "a pod writes under its own name",
			}},
		},
	}, metav1.CreateOptions{})
	must(err)
	_, err = k.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "own-name"},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "own-name", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}, metav1.CreateOptions{})
	must(err)

	asPod := rest.AnonymousClientConfig(config)
	asPod.BearerToken = token.Status.Token
	p := client(t, asPod)
	create := func(ctx context.Context, name string) error {
		_, err := p.CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	// Policies take hold a moment after they are written.
	eventually(t, "another name is not refused", func(ctx context.Context) error {
		if err := create(ctx, "q"); err == nil || !strings.Contains(err.Error(), "under its own name") {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
	if err := create(ctx, "p"); err != nil {
		t.Errorf("its own name: %v", err)
	}
}
