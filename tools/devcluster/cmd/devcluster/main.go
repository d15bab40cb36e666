// Command devcluster runs a real single-node Kubernetes, or just its API
// server, from one binary.
package main

import (
	"os"

	"github.com/weirmesh/weir/tools/devcluster/internal/cli"
	"github.com/weirmesh/weir/tools/devcluster/internal/kube"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], cli.Children{
		ControlPlane: kube.ControlPlane,
		Kubelet:      kube.Kubelet,
		Proxy:        kube.Proxy,
		DNS:          kube.DNS,
	}))
}
