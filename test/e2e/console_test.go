package e2e

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
		"WEIR_TEST_KNOBS="+strings.Join(knobs, " "), "NO_COLOR=1")
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
