// Package cli is the command line of devcluster.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"github.com/weirmesh/weir/tools/devcluster/internal/node"
)

// Children are the entry points of the processes that this program
// re-executes itself as.
type Children struct {
	ControlPlane, Kubelet, Proxy, DNS func(args []string) error
	// Kubectl is kubectl, for users whose machine has none.
	Kubectl func(args []string) error
}

// kubernetesVersion is what the components in this binary report; the linker
// sets it.
func kubernetesVersion() string { return version.Get().GitVersion }

// Find returns the entry point that the arguments ask for, or nil if they are
// a user's.
func (c Children) Find(args []string) func([]string) error {
	if len(args) == 0 {
		return nil
	}
	return map[string]func([]string) error{
		node.ChildInit:         node.Init,
		node.ChildControlPlane: c.ControlPlane,
		node.ChildKubelet:      c.Kubelet,
		node.ChildProxy:        c.Proxy,
		node.ChildDNS:          c.DNS,
		kubectl:                c.Kubectl,
	}[args[0]]
}

// kubectl is a command that reads its arguments itself, those for help included.
const kubectl = "kubectl"

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:                kubectl,
		Short:              "Run kubectl, of the same version as the cluster",
		Long:               "Kubectl is Kubernetes' own command line; all arguments are its own.",
		Example:            "  devcluster kubectl --kubeconfig ./cluster/admin.kubeconfig get pods -A",
		DisableFlagParsing: true,
	}
}

// RunChild runs an entry point and returns the exit code. It leaves signals to
// the component.
func RunChild(run func([]string) error, args []string) int {
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Main runs a user's command until it is done or ctx ends, and returns the
// exit code.
func Main(ctx context.Context, args []string) int {
	root := newRoot(os.Stdout)
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster: "+err.Error())
		return 1
	}
	return 0
}

func newRoot(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "devcluster",
		Short: "A real Kubernetes from one binary",
		Long: `devcluster runs a real single-node Kubernetes, or just its API server, from
one binary: etcd, API server, controllers and scheduler in one process, and, as
root on Linux, containerd, kubelet, kube-proxy and DNS in namespaces of their
own. A cluster lives in one directory and keeps its data there.`,
		Example: `  # an API server, without root
  devcluster up --dir ./cluster --control-plane-only

  # a cluster that runs pods
  sudo devcluster up --dir ./cluster
  devcluster kubectl --kubeconfig ./cluster/admin.kubeconfig get nodes`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(out)
	root.AddCommand(newUp(), newDown(), newStatus(), newLoadImage(), newMakeImage(), newFault(), newKubeconfig(), kubectlCommand(), newVersion())
	return root
}

// addDir adds the flag that every command of a cluster has.
func addDir(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", "", "the cluster's directory (required)")
	if err := c.MarkFlagDirname("dir"); err != nil {
		panic(err) // The flag was added a line before.
	}
	if err := c.MarkFlagRequired("dir"); err != nil {
		panic(err)
	}
}

// addOutput adds --output.
func addOutput(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "text", "text or json")
	if err := c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err)
	}
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("--output %q does not exist: use text or json", output)
	}
	return nil
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the versions of devcluster and of the Kubernetes in it",
		Example: "  devcluster version",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return errors.New("this binary carries no build information: build it with the go command")
			}
			fmt.Fprintf(c.OutOrStdout(), "devcluster %s, Kubernetes %s\n", info.Main.Version, kubernetesVersion())
			for _, d := range info.Deps {
				switch d.Path {
				case "go.etcd.io/etcd/server/v3":
					fmt.Fprintf(c.OutOrStdout(), "etcd %s\n", d.Version)
				case "github.com/coredns/coredns":
					fmt.Fprintf(c.OutOrStdout(), "CoreDNS %s\n", d.Version)
				}
			}
			return nil
		},
	}
}
