package kube

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	// Registers the components' build information metric.
	_ "k8s.io/component-base/metrics/prometheus/version"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Kubelet runs the kubelet with its own command line until it is told to end.
func Kubelet(args []string) error {
	return component(kubelet.NewKubeletCommand(context.Background()), args)
}

// Proxy runs kube-proxy with its own command line until it is told to end.
func Proxy(args []string) error {
	return component(proxy.NewProxyCommand(), args)
}

func component(c *cobra.Command, args []string) error {
	// The commands read os.Args for themselves (the kubelet parses twice).
	os.Args = append([]string{c.Use}, args...)
	if code := cli.Run(c); code != 0 {
		return errors.New("ended with an error")
	}
	return nil
}
