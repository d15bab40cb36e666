package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/weirmesh/weir/internal/pg"
	"github.com/weirmesh/weir/internal/testkube"
)

// These tests run the real thing, without pods: the node's are in test/e2e.

func upArgs(dir string, more ...string) []string {
	return append([]string{
		"up", "--data-dir", dir, "--admin-listen", "127.0.0.1:0",
		"--gateway-listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0", "--tracing-listen", "127.0.0.1:0",
	}, more...)
}

// dataDir is one that the user postgres may get into.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-up-") //nolint:usetesting // nobody but root can enter what t.TempDir makes
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "data")
}

// running returns the ids of the processes that run with dir in their command line.
func running(t *testing.T, dir string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte(dir)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

var (
	healthLine   = regexp.MustCompile(`http://([0-9.:]+)/readyz`)
	postgresLine = regexp.MustCompile(`postgres +ready +127\.0\.0\.1:(\d+)`)
)

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func TestUpStartsEndsAndGoesOnWithItsData(t *testing.T) {
	dir := dataDir(t)
	env := map[string]string{"KUBECONFIG": "/somewhere/production"}
	w := start(t, env, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
	out := w.out.String()
	for _, want := range []string{"API server alone", "data in " + dir, "Ctrl-C ends it", "$KUBECONFIG is set, but not used"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	health := healthLine.FindStringSubmatch(out)
	if health == nil {
		t.Fatalf("no address of the health checks in\n%s", out)
	}
	if status, body := get(t, "http://"+health[1]+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if _, body := get(t, "http://"+health[1]+"/metrics"); !strings.Contains(body, "weir_registry_") || !strings.Contains(body, "weir_pg_pool_") {
		t.Errorf("/metrics lacks the parts' own:\n%.2000s", body)
	}
	// Whoever asks from the same place finds this cluster, with Weir's objects in it.
	if code, out, errs := do(t, nil, "registry", "list", "--data-dir", dir); code != 0 || !strings.Contains(out, "default/kubernetes") {
		t.Errorf("registry list: %d\n%s%s", code, out, errs)
	}
	// A second one keeps its hands off the data.
	if code, _, errs := do(t, nil, upArgs(dir, "--node=false")...); code != 3 || !strings.Contains(errs, "another weir up runs in "+dir) {
		t.Errorf("a second weir up: %d %s", code, errs)
	}
	children := running(t, dir)
	if len(children) < 2 {
		t.Errorf("processes %v: want PostgreSQL's and the cluster's", children)
	}
	w.cancel()
	w.wait(t)
	if w.code != 0 || w.errs.String() != "" {
		t.Errorf("ended with %d: %s", w.code, w.errs)
	}
	if left := running(t, dir); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}

	port := postgresLine.FindStringSubmatch(out)
	if port == nil {
		t.Fatalf("no port of PostgreSQL in\n%s", out)
	}
	w = start(t, nil, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
	if again := postgresLine.FindStringSubmatch(w.out.String()); len(again) < 2 || again[1] != port[1] {
		t.Errorf("PostgreSQL moved from port %s:\n%s", port[1], w.out)
	}
}

func TestUpEndsWhenAChildDies(t *testing.T) {
	dir := dataDir(t)
	w := start(t, nil, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
	victim := 0
	for _, pid := range running(t, dir) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.HasPrefix(string(line), filepath.Join(filepath.Dir(executable()), "devcluster")+"\x00up\x00") {
			victim = pid
		}
	}
	if victim == 0 {
		t.Fatal("there is no devcluster to kill")
	}
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.wait(t)
	if w.code != 1 {
		t.Errorf("exit code %d", w.code)
	}
	for _, want := range []string{"weir: kubernetes: process devcluster ended by itself: signal: killed; its last lines:", `"part":"cluster","state":"ready"`, filepath.Join(dir, "log", "devcluster.log")} {
		if !strings.Contains(w.errs.String(), want) {
			t.Errorf("%q is missing in\n%s", want, w.errs)
		}
	}
	if left := running(t, dir); len(left) != 0 {
		t.Errorf("processes %v are left", left)
	}
}

// A killed weir takes all that it started with it, and the next one starts on
// what it left.
func TestUpKilledOutrightLeavesNothingRunning(t *testing.T) {
	dir := dataDir(t)
	child := process(t, nil, upArgs(dir, "--node=false")...)
	child.says(t, "Try:  ")
	if len(running(t, dir)) < 2 {
		t.Fatal("nothing was started")
	}
	if err := child.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.wait(t)
	testkube.Eventually(t, "the children end", func() error {
		if left := running(t, dir); len(left) != 0 {
			return fmt.Errorf("processes %v are left", left)
		}
		return nil
	})
	w := start(t, nil, upArgs(dir, "--node=false")...)
	w.says(t, "Try:  ")
}

func TestUpTwoStagesOfCtrlC(t *testing.T) {
	dir := dataDir(t)
	child := process(t, nil, upArgs(dir, "--node=false")...)
	child.says(t, "Try:  ")
	if err := child.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	child.says(t, "ending; a second Ctrl-C forces it")
	// The end may be quicker than the second signal; both are in order.
	_ = child.cmd.Process.Signal(os.Interrupt)
	child.wait(t)
	if code := child.cmd.ProcessState.ExitCode(); code != 0 && code != 130 {
		t.Errorf("exit code %d: %s", code, child.errs)
	}
	testkube.Eventually(t, "the children end", func() error {
		if left := running(t, dir); len(left) != 0 {
			return fmt.Errorf("processes %v are left", left)
		}
		return nil
	})
}

func TestUpForcedAtTheStartIsExitCode130(t *testing.T) {
	w := start(t, nil, upArgs(dataDir(t), "--node=false")...)
	w.says(t, "kubernetes  starting")
	w.force()
	w.cancel()
	w.wait(t)
	if w.code != 130 {
		t.Errorf("exit code %d: %s", w.code, w.errs)
	}
}

// A cluster and a database of the user's: no root, and no writing without leave.
func TestUpWithTheUsersOwn(t *testing.T) {
	kube := testkube.StartOwn(t)
	definitions, err := dynamic.NewForConfig(kube.REST())
	if err != nil {
		t.Fatal(err)
	}
	crds := definitions.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	ctx := testkube.Context(t)
	if err := crds.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	testkube.Eventually(t, "the definitions are gone", func() error {
		list, err := crds.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are there", len(list.Items))
		}
		return err
	})

	server, err := pg.StartServer(ctx, pg.ServerConfig{Dir: dataDir(t), NoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(context.Background()) })
	database := server.URL()

	home := dataDir(t)
	nobody := asNobody(t, home)
	config := filepath.Join(filepath.Dir(home), "kubeconfig")
	raw, err := os.ReadFile(kube.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	args := upArgs(filepath.Join(home, "data"), "--kubeconfig", config, "--database-url", database)

	refused := process(t, nobody, args...)
	refused.wait(t)
	if code := refused.cmd.ProcessState.ExitCode(); code != 3 {
		t.Errorf("exit code %d without definitions", code)
	}
	for _, want := range []string{"does not know appmetadatas.registry.weirmesh.io", "`weir manifests | kubectl --kubeconfig " + config, "--install"} {
		if !strings.Contains(refused.errs.String(), want) {
			t.Errorf("%q is missing in\n%s", want, refused.errs)
		}
	}
	if list, err := crds.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("written without leave: %v, %v", list, err)
	}

	allowed := process(t, nobody, append(args, "--install")...)
	allowed.says(t, "Try:  ")
	if out := allowed.out.String(); strings.Contains(out, "shop") || strings.Contains(out, database) || !strings.Contains(out, "xxxxx@"+server.Address()) {
		t.Errorf("got\n%s", out)
	}
	// Its control plane, whose cluster became known after it, keeps Weir's objects in order.
	judged(t, kube, "default")
	if err := allowed.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	allowed.wait(t)
	if code := allowed.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d: %s", code, allowed.errs)
	}

	// With the definitions there, nothing has to be allowed.
	plain := process(t, nobody, args...)
	plain.says(t, "Try:  ")

	// The API server goes away and comes back; weir says so and stays.
	kube.Kill(t)
	plain.says(t, "registry    stale")
	kube.Restart(t)
	plain.says(t, "in touch with the API server again")
}

func TestUpSaysWhatIsLacking(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string][]string{
		"admin: the address " + address + " is taken by another process; choose another address with --admin-listen": {"up", "--data-dir", dataDir(t), "--node=false", "--admin-listen", address},
		"--postgres-port": upArgs(dataDir(t), "--node=false", "--postgres-port", port),
		"--data-dir":      upArgs(filepath.Join(file, "data"), "--node=false"),
		"--devcluster /nonexistent is no program that can be run: build it with `make build-devcluster`": upArgs(dataDir(t), "--node=false", "--devcluster", "/nonexistent"),
		"--postgres-bin": upArgs(dataDir(t), "--node=false", "--postgres-bin", "/nonexistent"),
		"--database-url": upArgs(dataDir(t), "--node=false", "--database-url", "postgres://weir:hunter2@127.0.0.1:port/weir"),
	}
	if os.Geteuid() == 0 { // others hear of the missing root first
		cases["--shop-bin"] = upArgs(dataDir(t), "--shop", "true", "--shop-bin", "/nonexistent")
	}
	for want, args := range cases {
		w := start(t, nil, args...)
		w.wait(t)
		if errs := w.errs.String(); w.code != 3 || !strings.Contains(errs, want) || strings.Contains(errs, "hunter2") || strings.Contains(errs, "goroutine") {
			t.Errorf("weir %s: %d, %q, want %q in it", strings.Join(args, " "), w.code, errs, want)
		}
	}
}

func TestUpWithoutRootSaysHow(t *testing.T) {
	home := dataDir(t)
	nobody := asNobody(t, home)
	child := process(t, nobody, upArgs(filepath.Join(home, "data"))...)
	child.wait(t)
	errs := child.errs.String()
	if code := child.cmd.ProcessState.ExitCode(); code != 3 || !strings.Contains(errs, "sudo weir up") || !strings.Contains(errs, "--kubeconfig") || !strings.Contains(errs, "--node=false") {
		t.Errorf("%d: %s", code, errs)
	}
	// What it offers works: PostgreSQL and the API server as an ordinary user.
	child = process(t, nobody, upArgs(filepath.Join(home, "data"), "--node=false")...)
	child.says(t, "Try:  ")
}

// asNobody makes dir belong to an ordinary user and returns who that is; nil,
// which is this user, when the tests do not run as root.
func asNobody(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return nil
	}
	const nobody = 65534
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: nobody, Gid: nobody}
}

// child is weir as a process of its own.
type child struct {
	*weir
	cmd *exec.Cmd
}

func process(t *testing.T, as *syscall.Credential, args ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := executable()
	if as != nil {
		self, bin = reachable(t, self), reachable(t, filepath.Join(filepath.Dir(bin), "devcluster"))
	}
	c := &child{weir: &weir{out: newOutput(), errs: newOutput(), done: make(chan struct{})}, cmd: exec.Command(self, args...)}
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.errs
	c.cmd.Dir = os.TempDir()
	c.cmd.Env = []string{"WEIR_CLI_TEST_CHILD=1", "PATH=" + os.Getenv("PATH"), "WEIR_CLI_TEST_EXECUTABLE=" + bin, "HOME=/nonexistent", "TMPDIR=" + os.TempDir()}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: as}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Signal(os.Interrupt)
		ctx, cancel := context.WithTimeout(context.Background(), testkube.Deadline)
		defer cancel()
		select {
		case <-c.done:
		case <-ctx.Done():
			_ = c.cmd.Process.Kill()
			<-c.done
			t.Error("weir did not end when asked to")
		}
		if t.Failed() {
			t.Logf("weir %s wrote\n%s%s", strings.Join(args, " "), c.out, c.errs)
		}
	})
	return c
}

// reachable links a file to a place that every user may enter. Files beside a
// program are looked for where its link is.
func reachable(t *testing.T, file string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-bin-") //nolint:usetesting // nobody but root can enter what t.TempDir makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
