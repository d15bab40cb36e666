package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
)

func run(args ...string) (string, error) {
	var out bytes.Buffer
	root := newRoot(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no help or no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(&bytes.Buffer{}))
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, err := run("completion", shell); err != nil || !strings.Contains(out, "devcluster") {
			t.Errorf("completion for %s: %v", shell, err)
		}
	}
}

// Every refusal is one sentence that names what helps.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "text")
	if err := os.WriteFile(foreign, []byte("text\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"up", `"dir" not set`},
		{"up --dir x --output yaml", "text or json"},
		{"up --dir x --slot 255", "--slot 1 to 254"},
		{"up --dir x --slot one", "--slot 1 to 254"},
		{"up --dir x --proxy-mode ipvs", "use iptables or nftables"},
		{"up --dir x --control-plane-only --proxy-mode nftables", "leave out --slot, --proxy-mode"},
		{"up --dir x --port 80", "--control-plane-only"},
		{"up --dir x --control-plane-only --port 70000", "--port 1 to 65535"},
		{"up --dir x --control-plane-only --slot 1", "leave out --slot"},
		{"up --dir x --control-plane-only --load-image a=b", "--load-image"},
		{"up --dir x --load-image a", "NAME=PATH"},
		{"up x", "unknown command"},
		{"down --dir " + dir + "/none", "--dir"},
		{"status --dir " + dir, "devcluster up"},
		{"status --dir " + dir + " -o yaml", "text or json"},
		{"load-image --dir " + dir, "one image name"},
		{"load-image a:v1 --dir " + dir, "either --binary or --tar"},
		{"load-image a:v1 --dir " + dir + " --binary a --tar b", "either --binary or --tar"},
		{"load-image a:v1 --dir " + dir + " --binary " + foreign, "not a Linux executable"},
		{"load-image a:v1 --dir " + dir + " --binary " + foreign + " --file x", "--file"},
		{"make-image --out x.tar", "one image name"},
		{"make-image a:v1", `"out" not set`},
		{"make-image a:v1 --out x.tar --entrypoint /a", "name a directory"},
		{"make-image a:v1 --out " + dir + "/none/x.tar --layer " + dir + " --entrypoint /a", "--out"},
		{"fault nothing --dir " + dir, "apiserver"},
		{"fault apiserver --dir " + dir + " --for -1s", "--for"},
		{"fault apiserver --dir " + dir, "devcluster up"},
		{"kubeconfig --dir " + dir, "--user"},
		{"kubeconfig --user ann --dir " + dir, "devcluster up"},
	} {
		_, err := run(strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("devcluster %s: got %v, want %q in it", tt.args, err, tt.want)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("devcluster %s: more than one line: %v", tt.args, err)
		}
	}
}

func TestTextEvents(t *testing.T) {
	var out bytes.Buffer
	tell := textEvents(&out)
	tell(cluster.Event{Part: cluster.PartNode, State: cluster.Failed, Detail: "kubelet ended\nlast line", Seconds: 1.25})
	n, err := cluster.SlotNetwork(7)
	if err != nil {
		t.Fatal(err)
	}
	tell(cluster.Event{Part: cluster.PartCluster, State: cluster.Ready, Seconds: 4, Summary: &cluster.Summary{
		Version: "v1", Mode: cluster.WithNode, Server: "https://10.231.7.2:6443", Kubeconfig: "/x/admin.kubeconfig", Network: n,
	}})
	for _, want := range []string{"1.2s  node           failed    kubelet ended\n          last line\n", "KUBECONFIG=/x/admin.kubeconfig", "10.232.7.0/24", "10.231.7.1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, out.String())
		}
	}
}
