// Command devcluster runs a real single-node Kubernetes, or just its API
// server, from one binary.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/weirmesh/weir/tools/devcluster/internal/cli"
	"github.com/weirmesh/weir/tools/devcluster/internal/kube"
)

func main() { os.Exit(run()) }

func run() int {
	children := cli.Children{
		ControlPlane: kube.ControlPlane,
		Kubelet:      kube.Kubelet,
		Proxy:        kube.Proxy,
		DNS:          kube.DNS,
		Kubectl:      kube.Kubectl,
	}
	args := os.Args[1:]
	if child := children.Find(args); child != nil {
		return cli.RunChild(child, args[1:])
	}
	// A reader of the output that goes away must not take the cluster with it.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	return cli.Main(ctx, args)
}
