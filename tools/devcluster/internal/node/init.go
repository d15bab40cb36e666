package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/weirmesh/weir/tools/devcluster/internal/apiclient"
	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
	"github.com/weirmesh/weir/tools/devcluster/internal/link"
	"github.com/weirmesh/weir/tools/devcluster/internal/process"
)

const (
	// channelFD is the socket to the parent, beside the standard three.
	channelFD = 3
	// stopGrace is how long processes, pods' included, have after SIGTERM.
	stopGrace = 1200 * time.Millisecond
)

// Init is the first process of the node's namespaces: it runs until its
// parent says so, or is gone. With it the kernel ends all others.
func Init(args []string) error {
	channel, err := net.FileConn(os.NewFile(channelFD, "parent"))
	if err != nil {
		return fmt.Errorf("no parent: %w; this command is started by `devcluster up`", err)
	}
	syscall.CloseOnExec(channelFD)
	r := &reporter{enc: json.NewEncoder(channel)}
	if err := run(args, channel, r); err != nil {
		r.send(Report{Failed: err.Error()})
		return err
	}
	return nil
}

type reporter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

// send drops the report if the parent is gone: then the end is near anyhow.
func (r *reporter) send(m Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.enc.Encode(m) //nolint:errchkjson // strings and numbers always encode; the rest is the channel
}

func run(args []string, channel net.Conn, r *reporter) error {
	if len(args) != 1 {
		return errors.New("want the path of the node's specification")
	}
	spec, err := loadSpec(args[0])
	if err != nil {
		return err
	}
	commands := json.NewDecoder(channel)
	var c Command
	if err := commands.Decode(&c); err != nil || !c.Connected {
		return errors.New("the parent ended before the node was connected")
	}
	if err := mountAll(spec.Dir); err != nil {
		return err
	}
	if err := link.ConfigureNode(spec.Node.Network); err != nil {
		return err
	}
	if err := setKernel(); err != nil {
		return err
	}
	if err := os.Setenv("PATH", spec.Tools.Path); err != nil {
		return err
	}

	group := process.NewGroup(process.NewInit(), config.Inside.Logs(), func(s process.Status) { r.send(Report{Status: &s}) })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		if err := start(ctx, group, spec, r); err != nil && ctx.Err() == nil {
			r.send(Report{Failed: err.Error()})
		}
	}()
	for {
		var c Command
		if err := commands.Decode(&c); err != nil || c.Stop {
			break
		}
		if c.Hold != nil {
			held := ""
			if err := group.Hold(c.Hold.Process, time.Duration(c.Hold.Seconds*float64(time.Second))); err != nil {
				held = err.Error()
			}
			r.send(Report{Held: &held})
		}
	}
	cancel()
	// Pods get the same moment as the node's own processes.
	if err := syscall.Kill(-1, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the node's processes: %w", err)
	}
	group.Stop(stopGrace)
	return nil
}

// start starts the processes in the order in which they need one another.
func start(ctx context.Context, group *process.Group, spec Spec, r *reporter) error {
	const self = "/proc/self/exe"
	inside := func(name string) string { return filepath.Join(config.Inside.PKI(), name) }
	server := config.ServerURL(cluster.WithNode, spec.Node.Network, spec.Port)
	client, err := apiclient.New(server, inside("ca.crt"), inside("admin.crt"), inside("admin.key"))
	if err != nil {
		return err
	}
	containerd := process.Spec{
		Name: Containerd, Path: spec.Tools.Containerd, Args: config.ContainerdArgs(),
		Ready: func(ctx context.Context) error {
			if err := client.Wait(ctx, dialContainerd); err != nil {
				return err
			}
			r.send(Report{Containerd: true})
			return nil
		},
	}
	if err := group.Start(containerd); err != nil {
		return err
	}
	controlPlane := process.Spec{
		Name: ControlPlane, Path: self, Args: []string{ChildControlPlane, filepath.Join(config.Inside.Run(), ControlPlaneFile)},
		Ready: func(ctx context.Context) error { return WaitControlPlane(ctx, client) },
	}
	if err := group.Start(controlPlane); err != nil {
		return err
	}
	if err := client.WaitOK(ctx, "/livez"); err != nil {
		return err
	}
	if err := client.Wait(ctx, func(ctx context.Context) error { return forget(ctx, client) }); err != nil {
		return err
	}
	kubelet := process.Spec{
		Name: Kubelet, Path: self, Args: append([]string{ChildKubelet}, config.KubeletArgs(spec.Node)...),
		Ready: func(ctx context.Context) error {
			// The node's condition alone may be an earlier kubelet's word.
			if err := waitHTTP(ctx, config.KubeletHealthURL); err != nil {
				return err
			}
			return client.Wait(ctx, func(ctx context.Context) error { return nodeReady(ctx, client) })
		},
	}
	if err := group.Start(kubelet); err != nil {
		return err
	}
	proxy := process.Spec{
		Name: Proxy, Path: self, Args: append([]string{ChildProxy}, config.ProxyArgs()...),
		Ready: func(ctx context.Context) error { return waitHTTP(ctx, config.ProxyHealthURL) },
	}
	if err := group.Start(proxy); err != nil {
		return err
	}
	if err := client.Wait(ctx, func(ctx context.Context) error { return applyDNS(ctx, client, spec.Node.Network) }); err != nil {
		return err
	}
	return group.Start(process.Spec{
		Name: DNS, Path: self, Args: []string{ChildDNS, config.CorefilePath()},
		Ready: func(ctx context.Context) error { return waitHTTP(ctx, config.DNSReadyURL) },
	})
}

func dialContainerd(ctx context.Context) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", config.ContainerdSocket)
	if err != nil {
		return err
	}
	return c.Close()
}
