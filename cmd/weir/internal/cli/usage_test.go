package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weirmesh/weir/deploy"
)

// rewrite copies a file with one text in place of another.
func rewrite(t *testing.T, file, old, now string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), old) {
		t.Fatalf("%s does not hold %q", file, old)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(raw), old, now)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongUsageIsOneSentenceAndExitCode2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(file, []byte("data-dri: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"unknown command \"upp\" for \"weir\"; did you mean \"up\"?":            {"upp"},
		"unknown command \"lst\" for \"weir registry\"; did you mean \"list\"?": {"registry", "lst"},
		"unknown command \"frobnicate\" for \"weir\"; see `weir --help`":        {"frobnicate"},
		"unknown flag: --dada-dir; `weir up --help` lists the flags":            {"up", "--dada-dir", "x"},
		"--context needs --kubeconfig":                                          {"up", "--context", "x"},
		"it takes auto, true, false":                                            {"up", "--shop", "maybe"},
		"accepts 1 arg(s), received 0; see `weir registry get --help`":          {"registry", "get"},
		"application name \"Shop\"":                                             {"registry", "get", "Shop"},
		"\"shop/inventory/\" names no instance: write it as NAMESPACE/NAME/POD": {"explain", "instance", "shop/inventory/"},
		"it takes table, json, yaml":                                            {"registry", "list", "-o", "xml"},
		"--timeout 0s leaves no time for an answer":                             {"registry", "list", "--timeout", "0"},
		"weir.yaml:1: unknown setting \"data-dri\"; did you mean \"data-dir\"":  {"up", "--config", file},
		"configuration file: open /nonexistent":                                 {"registry", "list", "--config", "/nonexistent"},
		"nothing is to change: give --role,":                                    {"account", "set", "mei", "--reason", "x"},
		"--revision-grace 1m0s is too short for a rollout":                      {"control", "--database-url", "postgres://x/y", "--revision-grace", "1m"},
		"invalid argument \"gatway\" for \"weir config\"":                       {"config", "gatway"},
	} {
		code, out, errs := do(t, nil, args...)
		if code != 2 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("weir %s: %d, %q, want %q in it", strings.Join(args, " "), code, errs, want)
		}
	}
}

func TestLackingAClusterIsExitCode3(t *testing.T) {
	dir := t.TempDir()
	for want, args := range map[string][]string{
		"no Kubernetes cluster is named: start one with `weir up`": {"registry", "list", "--data-dir", dir},
		"names a file that does not exist":                         {"registry", "list", "--kubeconfig", filepath.Join(dir, "none")},
		"--kubeconfig " + filepath.Join(dir, "none"):               {"up", "--data-dir", dir, "--kubeconfig", filepath.Join(dir, "none")},
	} {
		code, out, errs := do(t, nil, args...)
		if code != 3 || out != "" || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("weir %s: %d, %q, want %q in it", strings.Join(args, " "), code, errs, want)
		}
	}
}

func TestConfigShowsOriginsAndMasksSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.yaml")
	// timeout belongs to another command; one file may serve them all.
	if err := os.WriteFile(file, []byte("shop: false\ntimeout: 3s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"WEIR_CONFIG": file, "WEIR_DATABASE_URL": "postgres://weir:hunter2@db/weir"}
	code, out, errs := do(t, env, "config")
	if code != 0 || strings.Contains(out, "hunter2") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	for _, want := range []string{"postgres://weir:xxxxx@db/weir", "environment WEIR_DATABASE_URL", file + ":1", "default"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	code, out, errs = do(t, env, "config", "registry", "-o", "json")
	if code != 0 || !strings.Contains(out, `"value": "3s"`) {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}

// Every command explains itself and shows how it is used.
func TestHelp(t *testing.T) {
	for _, command := range []string{"", "up", "control", "gateway", "tracing", "registry", "registry list", "registry get", "registry watch", "registry explain", "explain", "explain instance", "explain route", "system",
		"token", "token list", "token create", "token revoke", "account", "account list", "account create", "account set", "account delete", "account reset-password", "audit", "route", "policy", "switch", "trace", "config", "manifests", "version", "completion bash"} {
		code, out, errs := do(t, nil, append(strings.Fields(command), "--help")...)
		if code != 0 || !strings.Contains(out, "Usage:\n  weir") || errs != "" {
			t.Errorf("weir %s --help: %d\n%s%s", command, code, out, errs)
		}
		if !strings.HasPrefix(command, "completion") && !strings.Contains(out, "Examples:\n") {
			t.Errorf("weir %s --help shows no examples", command)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, errs := do(t, nil, "completion", shell); code != 0 || !strings.Contains(out, "weir") {
			t.Errorf("completion %s: %d %s", shell, code, errs)
		}
	}
}

func TestManifestsAreThoseOfDeploy(t *testing.T) {
	code, out, errs := do(t, nil, "manifests")
	if code != 0 {
		t.Fatal(errs)
	}
	documents := strings.Split(out, "\n---\n")
	if want := deploy.Manifests(); len(documents) != len(want) {
		t.Errorf("%d objects, want %d", len(documents), len(want))
	}
	for _, d := range documents {
		var o struct{ Kind string }
		if err := yaml.Unmarshal([]byte(d), &o); err != nil || o.Kind == "" {
			t.Errorf("no object: %v\n%s", err, d)
		}
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := do(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "weir test\n") {
		t.Errorf("%d\n%s", code, out)
	}
}
