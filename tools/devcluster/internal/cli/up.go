package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmesh/weir/tools/devcluster/internal/cluster"
	"github.com/weirmesh/weir/tools/devcluster/internal/config"
	"github.com/weirmesh/weir/tools/devcluster/internal/proc"
	"github.com/weirmesh/weir/tools/devcluster/internal/supervisor"
)

func newUp() *cobra.Command {
	var (
		o                supervisor.Options
		controlPlaneOnly bool
		slotFlag         string
		output           string
		images           []string
		withParent       bool
	)
	c := &cobra.Command{
		Use:   "up --dir DIR",
		Short: "Start a cluster and run it until Ctrl-C",
		Long: `Up starts the cluster in DIR, a new one or the one whose data lie there, and
runs it in the foreground. SIGINT or SIGTERM end every process it started. What
a killed run left behind is swept first.

DIR/admin.kubeconfig is an administrator's; DIR/log holds the logs. With
--output json each change is one JSON object a line:

  {"part":"control-plane","state":"ready","seconds":2.8}

Parts are control-plane, node, dns and image, states starting, ready, failed
and stopped; an image's detail is its name. Once all are ready the part
"cluster" is, with the addresses.`,
		Example: `  # an API server on loopback, without root, on any free port
  devcluster up --dir ./cluster --control-plane-only

  # a node that runs pods, with an image of a static binary
  sudo devcluster up --dir ./cluster --load-image shop.example/orders:dev=bin/orders`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			o.Mode = cluster.WithNode
			if controlPlaneOnly {
				o.Mode = cluster.ControlPlaneOnly
				if c.Flags().Changed("slot") || c.Flags().Changed("proxy-mode") || len(images) > 0 {
					return fmt.Errorf("a cluster without a node has no slot, no kube-proxy and no images: leave out --slot, --proxy-mode and --load-image, or --control-plane-only")
				}
			} else if c.Flags().Changed("port") {
				return fmt.Errorf("--port is for --control-plane-only: a cluster with a node has an address of its own, chosen by --slot")
			}
			if o.Port < 0 || o.Port > 65535 {
				return fmt.Errorf("port %d does not exist: use --port 1 to 65535, or 0 for any free one", o.Port)
			}
			if !slices.Contains(config.ProxyModes, o.ProxyMode) {
				return fmt.Errorf("--proxy-mode %q does not exist: use %s", o.ProxyMode, strings.Join(config.ProxyModes, " or "))
			}
			var err error
			if o.Slot, err = parseSlot(slotFlag); err != nil {
				return err
			}
			if o.Images, err = parseImages(images); err != nil {
				return err
			}
			o.Version = kubernetesVersion()
			o.Notify = textEvents(c.OutOrStdout())
			if output == "json" {
				o.Notify = jsonEvents(c.OutOrStdout())
			}
			ctx := c.Context()
			if withParent {
				var cancel context.CancelFunc
				var err error
				if ctx, cancel, err = proc.WithParent(ctx); err != nil {
					return err
				}
				defer cancel()
			}
			return supervisor.Up(ctx, o)
		},
	}
	addDir(c, &o.Dir)
	addOutput(c, &output)
	f := c.Flags()
	f.StringVar(&o.Name, "name", "", "name of the cluster in its kubeconfig (default: that of the directory)")
	f.BoolVar(&controlPlaneOnly, "control-plane-only", false, "only the API server, controllers and scheduler, on loopback; needs no root, runs no pods")
	f.IntVar(&o.Port, "port", 0, "port of the API server with --control-plane-only; 0 picks a free one and keeps to it")
	f.StringVar(&slotFlag, "slot", "auto", "number from 1 to 254 that the addresses derive from: 10.231.SLOT.0/24 for the node, 10.232.SLOT.0/24 for pods, 10.233.SLOT.0/24 for Services")
	f.StringArrayVar(&images, "load-image", nil, "NAME=PATH of an image to load: a static binary or a .tar archive; may be repeated")
	f.StringVar(&o.ProxyMode, "proxy-mode", config.ProxyModes[0], "how kube-proxy leads connections to a Service to its pods: "+strings.Join(config.ProxyModes, " or "))
	f.BoolVar(&withParent, "with-parent", false, "end as well when the process that called this one ends, however it does; for programs that run a cluster")
	f.BoolVar(&o.Fsync, "etcd-fsync", false, "let etcd wait for the disk: data then survive a power loss too, not only killed processes")
	return c
}

func parseSlot(s string) (int, error) {
	if s == "auto" {
		return supervisor.AnySlot, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < cluster.MinSlot || n > cluster.MaxSlot {
		return 0, fmt.Errorf("slot %q does not exist: use --slot %d to %d, or auto", s, cluster.MinSlot, cluster.MaxSlot)
	}
	return n, nil
}

func parseImages(flags []string) ([]supervisor.Image, error) {
	var images []supervisor.Image
	for _, f := range flags {
		name, path, ok := strings.Cut(f, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--load-image %q is not NAME=PATH: give an image's name and the path of a static binary or of a .tar archive", f)
		}
		images = append(images, supervisor.Image{Name: name, Path: path})
	}
	return images, nil
}

func jsonEvents(w io.Writer) func(cluster.Event) {
	enc := json.NewEncoder(w)
	// A reader that went away is no reason to end the cluster.
	return func(e cluster.Event) { _ = enc.Encode(e) }
}

func textEvents(w io.Writer) func(cluster.Event) {
	return func(e cluster.Event) {
		fmt.Fprintf(w, "%6.1fs  %-14s %-9s %s\n", e.Seconds, e.Part, e.State, indent(e.Detail))
		if e.Summary == nil {
			return
		}
		s := e.Summary
		fmt.Fprintf(w, "\n  Kubernetes %s at %s\n", s.Version, s.Server)
		if s.Mode == cluster.WithNode {
			fmt.Fprintf(w, "  node %s, pods %s, Services %s, DNS %s; pods reach this host at %s\n", s.NodeIP, s.PodCIDR, s.ServiceCIDR, s.DNSIP, s.HostIP)
		}
		fmt.Fprintf(w, "  export KUBECONFIG=%s\n  Ctrl-C ends it; its data stay.\n\n", s.Kubeconfig)
	}
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", 10)) }
