package kube

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	// The plugins of the cluster's Corefile, and no others.
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

// DNS serves the Corefile whose path is in args until SIGTERM or SIGINT. It
// drives the DNS server directly: CoreDNS's own main brings global flags that
// would collide with the other components of this binary.
func DNS(args []string) error {
	if len(args) != 1 {
		return errors.New("want the path of a Corefile")
	}
	contents, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	// The chain's order, which CoreDNS generates from its whole plugin list.
	dnsserver.Directives = []string{"errors", "health", "ready", "cache", "kubernetes"}
	dnsserver.Quiet = true
	caddy.Quiet = true
	caddy.AppName = "CoreDNS"
	instance, err := caddy.Start(caddy.CaddyfileInput{Contents: contents, Filepath: args[0], ServerTypeName: "dns"})
	if err != nil {
		return fmt.Errorf("start the DNS server: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	if err := instance.Stop(); err != nil {
		return fmt.Errorf("stop the DNS server: %w", err)
	}
	return nil
}
