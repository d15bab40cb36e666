package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weirmesh/weir/test/mesh"
)

// The console in a real browser, on the real shop. The tests themselves are the
// page's own (governance/console/web/e2e), since they are about what a person sees;
// this one starts them on this package's mesh. A failed one leaves its trace and a
// picture in bin/console/playwright.
func TestConsoleInABrowser(t *testing.T) {
	s := openShop(t)
	s.rolledOut("inventory")
	web, err := filepath.Abs("../../governance/console/web")
	if err != nil {
		t.Fatal(err)
	}
	runner := filepath.Join(web, "node_modules", "@playwright", "test", "cli.js")
	if _, err := os.Stat(runner); err != nil {
		t.Fatalf("%v: make console-packages installs what the browser tests need", err)
	}
	pods, err := s.pods("inventory")
	if err != nil || len(pods) != 2 {
		t.Fatalf("%d pods of inventory, %v", len(pods), err)
	}
	knobs := make([]string, 0, len(pods))
	for i := range pods {
		knobs = append(knobs, "http://"+adminOf(pods[i])+"/knobs")
	}

	kept := s.allKept("e2e-kept", "ledger")

	// One who may do everything, with a password that the tests know.
	const user = "e2e-console"
	password := newID(t, 16)
	if a := theMesh.api(t, http.MethodPost, "/api/v1/accounts", `{"name": "`+user+`", "role": "admin", "password": "`+password+`"}`); a.status != http.StatusCreated {
		t.Fatalf("the account: %s", a)
	}
	t.Cleanup(func() {
		// Not the test's context, which has ended when a test cleans up.
		if _, err := theMesh.TryAsk(context.Background(), "account", "delete", user, "--reason", "end-to-end test"); err != nil {
			t.Errorf("the account stays: %v", err)
		}
	})

	// Bounded, so that a browser that hangs is told from tests that take long.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", runner, "test", "--project=tests")
	cmd.Dir = web
	cmd.Env = append(os.Environ(), "WEIR_SERVER=http://"+theMesh.Control, "WEIR_USER="+user, "WEIR_PASSWORD="+password,
		"WEIR_TEST_KNOBS="+strings.Join(knobs, " "), "WEIR_TEST_KEPT="+kept, "NO_COLOR=1")
	// The runner ends its browser when it is asked to, and not when it is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("npm run e2e\n%s", out)
	handOver(t, filepath.Join(theMesh.Bin, "console"))
	if err != nil {
		t.Errorf("the browser tests: %v", err)
	}
}

// database is what the readiness of allKept's pods depends on, beside their probes.
const database = corev1.PodConditionType("shop.example/database")

// allKept makes an application of three pods that are well, and turns all of them
// unready at once, as happens when they share a database that is away. It returns what
// the application is called, once the control plane calls all three on.
func (s *shop) allKept(ns, app string) string {
	s.t.Helper()
	s.tenant(ns)
	s.serve(ns, app)
	// Tests of the browser take longer than instances are kept otherwise.
	policy := `{"apiVersion": "registry.weirmesh.io/v1alpha1", "kind": "DiscoveryPolicy", "metadata": {"name": "patience"}, "spec": {"protection": {"holdSeconds": 3600}}}`
	err := s.client.CoreV1().RESTClient().Post().AbsPath("/apis/registry.weirmesh.io/v1alpha1/namespaces", ns, "discoverypolicies").
		SetHeader("Content-Type", "application/json").Body([]byte(policy)).Do(s.t.Context()).Error()
	if err != nil {
		s.t.Fatal(err)
	}
	names := []string{app + "-a", app + "-b", app + "-c"}
	for _, name := range names {
		pod := program(name, "inventory", "-registry", "direct", "-listen", "0.0.0.0:20000")
		pod.Labels = map[string]string{"app.kubernetes.io/name": app}
		pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: database}}
		s.run(ns, pod)
	}
	turn := func(to corev1.ConditionStatus) {
		s.t.Helper()
		patch := fmt.Sprintf(`{"status": {"conditions": [{"type": %q, "status": %q}]}}`, database, to)
		for _, name := range names {
			if _, err := s.client.CoreV1().Pods(ns).Patch(s.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	full := ns + "/" + app
	counted := func(what string, called, kept int) {
		s.t.Helper()
		mesh.Eventually(s.t, what, func() error {
			var d struct {
				Counts struct{ Instances, Callable, Kept int }
			}
			a := theMesh.api(s.t, http.MethodGet, "/api/v1/registry/"+full, "")
			if a.status != http.StatusOK {
				return fmt.Errorf("%s", a)
			}
			a.into(s.t, &d)
			if c := d.Counts; c.Instances != len(names) || c.Callable != called || c.Kept != kept {
				return fmt.Errorf("%+v", c)
			}
			return nil
		})
	}
	turn(corev1.ConditionTrue)
	counted("all three are called", 3, 0)
	turn(corev1.ConditionFalse)
	counted("all three are kept", 3, 3)
	return full
}

// handOver gives what root wrote below a directory to the directory's owner, who
// has to be able to read and remove it.
func handOver(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(theMesh.Bin)
	if err != nil {
		t.Fatal(err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%s has no owner", theMesh.Bin)
	}
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
