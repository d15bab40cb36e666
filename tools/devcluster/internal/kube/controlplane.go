package kube

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
	logsapi "k8s.io/component-base/logs/api/v1"
	// Registers client-go's request metrics with the components' registries.
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/weirmesh/weir/tools/devcluster/internal/apiclient"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
)

const (
	etcdStartTimeout = 30 * time.Second
	// drainTimeout bounds how long a SIGTERM waits for the API server to let
	// its requests finish; watches never do by themselves.
	drainTimeout = time.Second
)

// ControlPlane runs etcd, the API server, the controller manager and the
// scheduler in this process until SIGTERM or SIGINT (nil) or until one of them
// ends by itself (its error). args holds the path of a config.ControlPlane
// file.
func ControlPlane(args []string) error {
	if len(args) != 1 {
		return errors.New("want the path of the control plane's configuration")
	}
	cfg, err := config.LoadControlPlane(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()

	// Each component applies its logging flags; all of them here are the same.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged

	// A unix socket's path holds 107 bytes at most; through this process's own
	// descriptor of the directory it is short wherever the directory lies. The
	// descriptor stays open for the life of the process.
	fd, err := syscall.Open(filepath.Dir(cfg.EtcdSocket), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open etcd's socket directory: %w", err)
	}
	socket := url.URL{Scheme: "unix", Path: fmt.Sprintf("/proc/self/fd/%d/%s", fd, filepath.Base(cfg.EtcdSocket))}
	member, err := startEtcd(cfg, socket)
	if err != nil {
		return err
	}
	ended := make(chan error, 4)
	go func() { ended <- fmt.Errorf("etcd: %w", <-member.Err()) }()
	start := func(name string, run func() error) {
		go func() {
			err := run()
			if err == nil {
				err = errors.New("ended without an error")
			}
			ended <- fmt.Errorf("%s: %w", name, err)
		}()
	}
	start("kube-apiserver", func() error {
		return execute(ctx, apiserver.NewAPIServerCommand(), append(cfg.APIServer, "--etcd-servers="+socket.String()))
	})

	client, err := apiclient.New(cfg.Server, cfg.CAFile, cfg.CertFile, cfg.KeyFile)
	if err != nil {
		return err
	}
	live := make(chan error, 1)
	go func() { live <- client.WaitOK(ctx, "/livez") }()
	select {
	case err := <-ended:
		return err
	case err := <-live:
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
	start("kube-controller-manager", func() error {
		return execute(ctx, kcm.NewControllerManagerCommand(), cfg.ControllerManager)
	})
	start("kube-scheduler", func() error { return runScheduler(ctx, cfg.Scheduler) })

	select {
	case err := <-ended:
		if ctx.Err() == nil {
			return err
		}
	case <-ctx.Done():
	}
	select {
	case <-ended:
	case <-time.After(drainTimeout):
	}
	// etcd is not closed: it would wait seconds for the API server's own
	// client, and its log and database stand a plain exit.
	return nil
}

func execute(ctx context.Context, c *cobra.Command, args []string) error {
	c.SetArgs(args)
	c.SilenceUsage = true
	return c.ExecuteContext(ctx)
}

// runScheduler avoids the scheduler's own command: it installs the signal
// handler that the API server has installed already, which panics the second
// time in one process.
func runScheduler(ctx context.Context, args []string) error {
	o := scheduleroptions.NewOptions()
	c := &cobra.Command{Use: "kube-scheduler", RunE: func(*cobra.Command, []string) error {
		cc, s, err := scheduler.Setup(ctx, o)
		if err != nil {
			return err
		}
		return scheduler.Run(ctx, cc, s)
	}}
	for _, f := range o.Flags.FlagSets {
		c.Flags().AddFlagSet(f)
	}
	return execute(ctx, c, args)
}

func startEtcd(cfg config.ControlPlane, client url.URL) (*embed.Etcd, error) {
	peer := client
	peer.Path += ".peer"
	for _, stale := range []string{client.Path, peer.Path} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("remove the last run's etcd socket: %w", err)
		}
	}
	c := embed.NewConfig()
	c.Dir = cfg.EtcdDir
	c.ListenClientUrls = []url.URL{client}
	c.ListenPeerUrls = []url.URL{peer}
	// Advertised URLs must look like host and port; with one member nobody
	// dials them.
	unused := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	c.AdvertisePeerUrls, c.AdvertiseClientUrls = []url.URL{unused}, []url.URL{unused}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.LogLevel = "error"
	c.LogOutputs = []string{"stderr"}
	c.UnsafeNoFsync = !cfg.EtcdFsync
	c.SnapshotCount = 10000
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err := <-e.Err():
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-time.After(etcdStartTimeout):
		return nil, fmt.Errorf("etcd was not ready after %s", etcdStartTimeout)
	}
}
